// The two kinds of messages: call and reply. What does not have their shape ends the connection.
import { ProtocolError } from '../base/errors.js';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from './json.js';

export interface CallMessage {
  /** Interface and name. */
  readonly method: string;
  /** `null` is the same as none. */
  readonly parameters: JsonValue | undefined;
  readonly more: boolean;
  readonly oneway: boolean;
  readonly upgrade: boolean;
}

export interface ReplyMessage {
  readonly parameters: JsonObject;
  readonly continues: boolean;
  readonly error: string | undefined;
}

function members(text: string, known: readonly string[]): JsonObject {
  const value = parseJson(text);
  if (!isJsonObject(value)) throw new ProtocolError('message', 0, 'not an object');
  for (const name of Object.keys(value)) {
    // Vendors may add members named after a domain of theirs.
    if (!known.includes(name) && !name.includes('.')) {
      throw new ProtocolError('message', 0, `unknown member ${JSON.stringify(name)}`);
    }
  }
  return value;
}

function flag(message: JsonObject, name: string): boolean {
  const value = message[name] ?? false;
  if (typeof value !== 'boolean') throw new ProtocolError(name, 0, 'neither true nor false');
  return value;
}

/** @throws ProtocolError */
export function decodeCall(text: string): CallMessage {
  const message = members(text, ['method', 'parameters', 'more', 'oneway', 'upgrade']);
  const { method } = message;
  if (typeof method !== 'string') throw new ProtocolError('method', 0, 'not a string');
  const more = flag(message, 'more');
  const oneway = flag(message, 'oneway');
  if (more && oneway) throw new ProtocolError('oneway', 0, 'together with more');
  const upgrade = flag(message, 'upgrade');
  if (upgrade && (more || oneway)) {
    throw new ProtocolError('upgrade', 0, 'together with more or oneway');
  }
  const parameters = message.parameters ?? undefined;
  return { method, parameters, more, oneway, upgrade };
}

/** @throws ProtocolError */
export function decodeReply(text: string): ReplyMessage {
  const message = members(text, ['parameters', 'continues', 'error']);
  const { error = null, parameters = null } = message;
  if (error !== null && typeof error !== 'string') {
    throw new ProtocolError('error', 0, 'not a string');
  }
  if (parameters !== null && !isJsonObject(parameters)) {
    throw new ProtocolError('parameters', 0, 'not an object');
  }
  return {
    parameters: parameters ?? Object.create(null),
    continues: flag(message, 'continues'),
    error: error ?? undefined,
  };
}
