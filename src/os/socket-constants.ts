// Numbers of <sys/socket.h> and <errno.h> as Linux has them on x86-64 and arm64.
import { errnoNumber } from '../base/errno.js';

export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_TYPE = 3;
export const SO_OOBINLINE = 10;
export const SO_PEERCRED = 17;
export const SO_ACCEPTCONN = 30;
export const SO_DOMAIN = 39;
export const SO_PEERPIDFD = 77;
/** Linux 6.16. */
export const SO_PASSRIGHTS = 83;
export const SHUT_RDWR = 2;
export const MSG_OOB = 0x1;
export const MSG_PEEK = 0x2;
export const MSG_CTRUNC = 0x8;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

export const EAGAIN = errnoNumber('EAGAIN');
export const EINTR = errnoNumber('EINTR');
