// The interface description language: types, and the parser of a description.
import { ProtocolError } from '../base/errors.js';

export type IdlType =
  | { readonly kind: 'bool' | 'int' | 'float' | 'string' | 'object' }
  | { readonly kind: 'named'; readonly name: string }
  | { readonly kind: 'array' | 'map' | 'optional'; readonly of: IdlType }
  | { readonly kind: 'enum'; readonly names: readonly string[] }
  | IdlStruct;

export interface IdlStruct {
  readonly kind: 'struct';
  readonly fields: readonly IdlField[];
}

export interface IdlField {
  readonly name: string;
  readonly type: IdlType;
}

export interface IdlMethod {
  readonly input: IdlStruct;
  readonly output: IdlStruct;
}

export interface IdlInterface {
  readonly name: string;
  readonly description: string;
  readonly types: ReadonlyMap<string, IdlType>;
  readonly methods: ReadonlyMap<string, IdlMethod>;
  readonly errors: ReadonlyMap<string, IdlStruct>;
}

const blank = /(?:[ \t\r\n]|#[^\n]*(?:\n|$))*/y;
const interfaceName = /[A-Za-z](?:-*[A-Za-z0-9])*(?:\.[A-Za-z0-9](?:-*[A-Za-z0-9])*)+/y;
const memberName = /[A-Z][A-Za-z0-9]*/y;
const fieldName = /[A-Za-z](?:_?[A-Za-z0-9])*/y;
const keyword = /[a-z]+\b/y;
const elementary = /(?:bool|int|float|string|object)\b/y;

class Parser {
  readonly #text: string;
  #at = 0;
  readonly #types = new Map<string, IdlType>();
  readonly #methods = new Map<string, IdlMethod>();
  readonly #errors = new Map<string, IdlStruct>();
  readonly #used = new Map<string, number>();

  constructor(text: string) {
    this.#text = text;
  }

  whole(): IdlInterface {
    if (this.#token(keyword) !== 'interface') this.#fail('"interface" is missing');
    const name = this.#expect(interfaceName, 'the name of an interface');
    this.#skip();
    while (this.#at < this.#text.length) {
      this.#member();
      this.#skip();
    }
    for (const [type, at] of this.#used) {
      if (!this.#types.has(type)) throw new ProtocolError('idl', at, `no type ${type}`);
    }
    return {
      name,
      description: this.#text,
      types: this.#types,
      methods: this.#methods,
      errors: this.#errors,
    };
  }

  #fail(detail: string): never {
    throw new ProtocolError('idl', this.#at, detail);
  }

  #skip(): void {
    blank.lastIndex = this.#at;
    this.#at += blank.exec(this.#text)?.[0].length ?? 0;
  }

  #token(pattern: RegExp): string | undefined {
    this.#skip();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #expect(pattern: RegExp, what: string): string {
    return this.#token(pattern) ?? this.#fail(`expected ${what}`);
  }

  #take(text: string): boolean {
    this.#skip();
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #member(): void {
    const kind = this.#expect(keyword, '"type", "method" or "error"');
    const name = this.#expect(memberName, 'a name with a capital');
    if (this.#types.has(name) || this.#methods.has(name) || this.#errors.has(name)) {
      this.#fail(`${name} is declared twice`);
    }
    if (kind === 'type') {
      this.#types.set(name, this.#group());
    } else if (kind === 'error') {
      this.#errors.set(name, this.#struct());
    } else if (kind === 'method') {
      const input = this.#struct();
      if (!this.#take('->')) this.#fail('expected "->"');
      this.#methods.set(name, { input, output: this.#struct() });
    } else {
      this.#fail(`"${kind}" is no kind of member`);
    }
  }

  #struct(): IdlStruct {
    const group = this.#group();
    return group.kind === 'struct' ? group : this.#fail('expected fields with types');
  }

  /** Parentheses: a struct, or an enum when the first name has no type. */
  #group(): IdlStruct | Extract<IdlType, { kind: 'enum' }> {
    if (!this.#take('(')) this.#fail('expected "("');
    const names: string[] = [];
    const fields: IdlField[] = [];
    if (this.#take(')')) return { kind: 'struct', fields };
    do {
      const name = this.#expect(fieldName, 'a field');
      if (names.includes(name)) this.#fail(`${name} is declared twice`);
      names.push(name);
      if (this.#take(':')) fields.push({ name, type: this.#type() });
    } while (this.#take(','));
    if (!this.#take(')')) this.#fail('expected ")"');
    if (fields.length === 0) return { kind: 'enum', names };
    if (fields.length < names.length) this.#fail('a field without a type');
    return { kind: 'struct', fields };
  }

  #type(): IdlType {
    if (this.#take('?')) {
      if (this.#take('?')) this.#fail('optional twice');
      return { kind: 'optional', of: this.#type() };
    }
    if (this.#take('[]')) return { kind: 'array', of: this.#type() };
    if (this.#take('[string]')) return { kind: 'map', of: this.#type() };
    const basic = this.#token(elementary);
    if (basic !== undefined) return { kind: basic as 'bool' };
    const name = this.#token(memberName);
    if (name === undefined) return this.#group();
    this.#used.set(name, this.#at);
    return { kind: 'named', name };
  }
}

/**
 * Parses an interface description.
 *
 * @throws ProtocolError with the offset of the mistake.
 */
export function parseIdl(description: string): IdlInterface {
  return new Parser(description).whole();
}
