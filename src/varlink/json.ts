// Strict JSON of hostile peers: bounded depth, no key twice, objects without a prototype. What
// JSON.parse lets pass (the last of two equal keys wins) would let two readers of one message
// disagree about it.
import { ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

const space = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these in strings
const string = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const word = /true|false|null/y;

class Parser {
  readonly #text: string;
  readonly #depthMax: number;
  #at = 0;

  constructor(text: string, depthMax: number) {
    this.#text = text;
    this.#depthMax = depthMax;
  }

  whole(): JsonValue {
    const value = this.#value(0);
    this.#match(space);
    if (this.#at !== this.#text.length) this.#fail('text behind the value');
    return value;
  }

  #fail(detail: string): never {
    throw new ProtocolError('json', this.#at, detail);
  }

  /** The matched text, of which some may be empty; undefined without a match. */
  #match(token: RegExp): string | undefined {
    token.lastIndex = this.#at;
    const found = token.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  /** Skips space, then takes one character if it is the wanted one. */
  #take(character: string): boolean {
    this.#match(space);
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #value(depth: number): JsonValue {
    this.#match(space);
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth + 1);
      case '[':
        return this.#array(depth + 1);
      case '"':
        return this.#string();
      default:
        return this.#scalar();
    }
  }

  #scalar(): JsonValue {
    const token = this.#match(word) ?? this.#match(number);
    if (token === undefined) this.#fail('not a value');
    const value = JSON.parse(token) as number | boolean | null;
    if (typeof value === 'number' && !Number.isFinite(value)) this.#fail('number out of range');
    return value;
  }

  #string(): string {
    const token = this.#match(string);
    if (token === undefined) this.#fail('not a string');
    return JSON.parse(token) as string;
  }

  #enter(depth: number): void {
    if (depth > this.#depthMax) this.#fail(`nested deeper than ${this.#depthMax}`);
    this.#at += 1;
  }

  #array(depth: number): JsonValue[] {
    this.#enter(depth);
    const values: JsonValue[] = [];
    if (this.#take(']')) return values;
    do values.push(this.#value(depth));
    while (this.#take(','));
    if (!this.#take(']')) this.#fail('array without an end');
    return values;
  }

  #object(depth: number): JsonObject {
    this.#enter(depth);
    const members: JsonObject = Object.create(null);
    if (this.#take('}')) return members;
    do {
      this.#match(space);
      const key = this.#string();
      if (key in members) this.#fail(`${JSON.stringify(key)} twice`);
      if (!this.#take(':')) this.#fail('key without a value');
      members[key] = this.#value(depth);
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('object without an end');
    return members;
  }
}

/**
 * Parses one JSON text.
 *
 * @throws ProtocolError with the offset, in UTF-16 units of the text.
 */
export function parseJson(text: string, depthMax: number = limits.varlinkDepthMax): JsonValue {
  return new Parser(text, depthMax).whole();
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
