// Variables by which a program knows that it runs in a guest.

/** Set in the guest, so that what runs there does not ask for a guest of its own. */
export const insideVariable = 'LESSOR_VM';
/** In the guest: the file that has what the server of its mqdma says, as it comes. */
export const deviceLogVariable = 'LESSOR_VM_DEVICE_LOG';
