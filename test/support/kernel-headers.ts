// Where the user headers of the test kernel are.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** A folder for #include; undefined when the test kernel was never built here. */
export function kernelIncludeFolder(): string | undefined {
  const folder = process.env.LESSOR_KERNEL_INCLUDE;
  return folder !== undefined && existsSync(join(folder, 'iommufd_test.h')) ? folder : undefined;
}
