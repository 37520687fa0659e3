// Values of the types that a description declares: the check, and the copy that is used after it.
import { assert } from '../base/errors.js';
import { invalidParameter } from './errors.js';
import type { IdlInterface, IdlStruct, IdlType } from './idl.js';
import { isJsonObject, type JsonObject, type JsonValue } from './json.js';

/**
 * `strict` refuses members that the description does not know: what a client says must be
 * understood in full. `open` drops them: a service may be newer than its client.
 */
export type UnknownMembers = 'strict' | 'open';

/**
 * Checks parameters against their declaration and copies what is declared. A `null` member is the
 * same as none, as sd-varlink has it.
 *
 * @throws StandardError `org.varlink.service.InvalidParameter` with the path of the first misfit.
 */
export function decodeParameters(
  idl: IdlInterface,
  struct: IdlStruct,
  value: JsonValue | undefined,
  unknown: UnknownMembers,
): JsonObject {
  return new Decoder(idl, unknown).struct(struct, value ?? Object.create(null), '');
}

class Decoder {
  readonly #idl: IdlInterface;
  readonly #unknown: UnknownMembers;

  constructor(idl: IdlInterface, unknown: UnknownMembers) {
    this.#idl = idl;
    this.#unknown = unknown;
  }

  struct(struct: IdlStruct, value: JsonValue, path: string): JsonObject {
    if (!isJsonObject(value)) throw invalidParameter(path === '' ? 'parameters' : path);
    const inside = path === '' ? '' : `${path}.`;
    const copy: JsonObject = Object.create(null);
    for (const { name, type } of struct.fields) {
      const member = (Object.hasOwn(value, name) ? value[name] : null) ?? null;
      if (member === null && type.kind === 'optional') continue;
      copy[name] = this.value(type, member, `${inside}${name}`);
    }
    if (this.#unknown === 'strict') {
      for (const name of Object.keys(value)) {
        const isKnown = struct.fields.some((field) => field.name === name);
        if (!isKnown && value[name] !== undefined) throw invalidParameter(`${inside}${name}`);
      }
    }
    return copy;
  }

  value(type: IdlType, value: JsonValue, path: string): JsonValue {
    switch (type.kind) {
      case 'named': {
        const named = this.#idl.types.get(type.name);
        assert(named !== undefined, `no type ${type.name}`);
        return this.value(named, value, path);
      }
      case 'struct':
        return this.struct(type, value, path);
      case 'optional':
        return value === null ? null : this.value(type.of, value, path);
      case 'array':
        if (!Array.isArray(value)) throw invalidParameter(path);
        return value.map((item, index) => this.value(type.of, item, `${path}[${index}]`));
      case 'map':
        return this.#map(type.of, value, path);
      default:
        if (!isScalar(type, value)) throw invalidParameter(path);
        return value;
    }
  }

  #map(type: IdlType, value: JsonValue, path: string): JsonObject {
    if (!isJsonObject(value)) throw invalidParameter(path);
    const copy: JsonObject = Object.create(null);
    for (const [key, item] of Object.entries(value)) {
      copy[key] = this.value(type, item, `${path}[${JSON.stringify(key)}]`);
    }
    return copy;
  }
}

type Scalar = Exclude<IdlType, { kind: 'named' | 'struct' | 'optional' | 'array' | 'map' }>;

function isScalar(type: Scalar, value: JsonValue): boolean {
  switch (type.kind) {
    case 'bool':
      return typeof value === 'boolean';
    case 'int':
      return Number.isSafeInteger(value);
    case 'float':
      return Number.isFinite(value);
    case 'string':
      return typeof value === 'string';
    case 'object':
      return isJsonObject(value);
    case 'enum':
      return typeof value === 'string' && type.names.includes(value);
  }
}
