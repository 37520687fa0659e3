// Why there is no virtual machine here, for those who then skip, by name, what needs it.

/** The machine lacks something. The message is one sentence that says what. */
export class VmUnavailable extends Error {}
