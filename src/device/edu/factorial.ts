// What the factorial register computes.

/**
 * n! modulo 2^32. At most 34 multiplications for any n: so many numbers in a row hold 32 factors
 * of two between them, and nothing changes a product of 0.
 *
 * @param n - 0 to 2^32 - 1.
 */
export function factorialModulo32(n: number): number {
  let product = 1;
  for (let factor = n; factor > 1 && product !== 0; factor--) {
    product = Math.imul(product, factor);
  }
  return product >>> 0;
}
