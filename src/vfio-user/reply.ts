// A reply on its way: what a command made, before it has a header.
import type { Fd } from '../os/fd.js';
import { VFIO_USER_F_TYPE_REPLY } from '../uapi/vfio-user.js';
import { frame, type Header, headerBytes } from './framing.js';

/** The payload in two parts, and descriptors that go with it. */
export interface Reply {
  readonly head?: Uint8Array;
  readonly tail?: Uint8Array;
  readonly fds?: readonly Fd[];
}

export const emptyReply: Reply = {};

/** The whole message that answers `request`. */
export function replyFrame(request: Header, reply: Reply): Uint8Array {
  const headLength = reply.head?.length ?? 0;
  const payloadBytes = headLength + (reply.tail?.length ?? 0);
  const bytes = frame(request.messageId, request.command, VFIO_USER_F_TYPE_REPLY, payloadBytes);
  if (reply.head !== undefined) bytes.set(reply.head, headerBytes);
  if (reply.tail !== undefined) bytes.set(reply.tail, headerBytes + headLength);
  return bytes;
}
