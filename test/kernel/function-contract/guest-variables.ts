// What the suite in the guest is told by whoever booted it.

/** Address of the CounterDevice's function. */
export const addressVariable = 'LESSOR_COUNTER';
/** Which kernel it is: `stock` or `patched`. */
export const kernelVariable = 'LESSOR_COUNTER_KERNEL';
