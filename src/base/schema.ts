// What a driver's options need: any library's schema with a `parse` fits.

export interface Schema<T> {
  /** Returns the value in its checked form, or throws an error whose message says what is wrong. */
  parse(value: unknown): T;
}
