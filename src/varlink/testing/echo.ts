// A small service for tests: what the protocol can do, without anything behind it.
import { limits } from '../../base/limits.js';
import { silentLogger } from '../../base/log.js';
import type { Fd } from '../../os/fd.js';
import type { VarlinkCall } from '../call.js';
import { VarlinkService } from '../service.js';

export const echoDescription = `interface org.example.echo
method Ping(text: string) -> (text: string)
method Slow() -> ()
method Count(to: int) -> (number: int)
method Take(index: int) -> (number: int)
method Give(count: int) -> (indexes: []int)
method Fail(how: string) -> ()
method Wrong() -> (number: int)
method Large(bytes: int) -> (text: string)
method Who() -> (uid: int, more: bool)
method Missing() -> ()
error Nothing ()
`;

export interface EchoTerms {
  /** Makes a descriptor to give away. */
  createFd(): Fd;
  /** What the handler of Fail throws. */
  failure?(how: string): unknown;
}

export interface EchoService {
  readonly service: VarlinkService;
  /** Ends the oldest call of Slow. */
  finishSlow(): void;
  readonly slowCount: number;
  readonly closedCount: number;
  readonly taken: Fd[];
  readonly bugs: unknown[];
  readonly calls: string[];
}

export function createEcho(terms: EchoTerms): EchoService {
  const slow: (() => void)[] = [];
  const state = { closedCount: 0, taken: [] as Fd[], bugs: [] as unknown[], calls: [] as string[] };
  const service = new VarlinkService({
    info: { vendor: 'Example', product: 'Echo', version: '1', url: 'https://example.org' },
    log: silentLogger,
    onBug: (error) => state.bugs.push(error),
  });
  const count = async (parameters: { to: number }, call: VarlinkCall): Promise<object> => {
    call.requireMore();
    call.closed.addEventListener('abort', () => {
      state.closedCount += 1;
    });
    for (let number = 0; number < parameters.to && !call.closed.aborted; number += 1) {
      call.reply({ number }, { continues: true });
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { number: parameters.to };
  };
  service.add(echoDescription, {
    Ping: (parameters: { text: string }) => {
      state.calls.push(parameters.text);
      return parameters;
    },
    Slow: () =>
      new Promise<undefined>((resolve) => {
        slow.push(() => resolve(undefined));
      }),
    Count: count,
    Take: {
      fdsMax: 2,
      handle: (parameters: { index: number }, call) => {
        const fd = call.takeFd(parameters.index);
        state.taken.push(fd);
        return { number: parameters.index };
      },
    },
    Give: (parameters: { count: number }, call) => {
      const fds = Array.from({ length: parameters.count }, () => terms.createFd());
      call.reply({ indexes: fds.map((_, index) => index) }, { fds });
      return undefined;
    },
    Fail: (parameters: { how: string }) => {
      throw terms.failure?.(parameters.how);
    },
    Wrong: () => ({ number: 'one' }),
    Large: (parameters: { bytes: number }) => ({ text: 'x'.repeat(parameters.bytes) }),
    Who: (_: object, call) => ({ uid: call.credentials.uid, more: call.more }),
  });
  return {
    service,
    finishSlow: () => slow.shift()?.(),
    get slowCount() {
      return slow.length;
    },
    get closedCount() {
      return state.closedCount;
    },
    taken: state.taken,
    bugs: state.bugs,
    calls: state.calls,
  };
}

/** Longest text of a Large that fits into one reply. */
export const largestText = limits.varlinkReplyBytesMax - '{"parameters":{"text":""}}\0'.length;
