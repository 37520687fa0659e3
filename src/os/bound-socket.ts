// A listening socket and its file. The file is removed with the socket, unless another took its
// place meanwhile.
import { Fd } from './fd.js';
import { checkResult } from './native-result.js';
import * as socket from './socket-constants.js';
import type { FileIdentity, SocketFiles } from './socket-file.js';
import type { BoundSocket } from './socket-types.js';
import type { StreamCalls } from './stream-socket.js';
import { unixAddress } from './unix-address.js';

export class OsBoundSocket implements BoundSocket {
  readonly path: string;
  readonly fd: Fd;
  readonly #files: SocketFiles;
  readonly #file: FileIdentity | undefined;
  #isBound = false;

  /** @throws OsError of socket, bind, chmod, listen; LessorError `INVALID_ARGUMENT` on the path. */
  constructor(calls: StreamCalls, files: SocketFiles, path: string, mode: number, backlog: number) {
    this.path = path;
    this.#files = files;
    const address = unixAddress(path);
    const type = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC;
    this.fd = new Fd(calls, checkResult(calls.socket(socket.AF_UNIX, type), 'socket'));
    try {
      // The file is made with the socket's mode less the umask, so it is never more open than this.
      files.setSocketMode(this.fd.number, mode);
      checkResult(calls.bind(this.fd.number, address), 'bind', path);
      this.#isBound = true;
      this.#file = files.identity(path);
      files.setMode(path, mode);
      checkResult(calls.listen(this.fd.number, backlog), 'listen', path);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.fd.close();
    if (!this.#isBound) return;
    this.#isBound = false;
    const now = this.#files.identity(this.path);
    const file = this.#file;
    if (now && file && now.device === file.device && now.inode === file.inode) {
      this.#files.remove(this.path);
    }
  }
}
