// What the broker tells the acquirer on the control connection, until the lease has ended.

import { closeAll } from '../os/fd.js';
import type { VarlinkClient } from '../varlink/client.js';
import type { AcquireReply, EventRecord, FaultRecord } from '../varlink/interface.js';
import type { MoreReplies } from '../varlink/reply-queue.js';

export interface LeaseEventSink {
  /** Of a listening lease: the process that connected. */
  connected?(pid: number): void;
  /** Of a listening lease: what its peer was refused, in words. */
  refused?(reason: string): void;
  revoking(reason: string, graceMs: number): void;
  fault(fault: FaultRecord): void;
  /** Called once: the broker's word, or that the connection to it is gone. */
  ended(reason: string): void;
}

export class LeaseEvents {
  readonly #connection: VarlinkClient;
  readonly #replies: MoreReplies<AcquireReply>;
  #open = true;

  constructor(connection: VarlinkClient, replies: MoreReplies<AcquireReply>) {
    this.#connection = connection;
    this.#replies = replies;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Starts delivering. Call once. */
  start(sink: LeaseEventSink): void {
    this.#pump(sink).catch((error: unknown) => {
      // A listener of the client threw: that is the client's bug, and must not be swallowed.
      queueMicrotask(() => {
        throw error;
      });
    });
  }

  close(): void {
    this.#open = false;
    this.#connection[Symbol.dispose]();
  }

  async #pump(sink: LeaseEventSink): Promise<void> {
    for (;;) {
      const reply = await this.#replies.next().catch((error: Error) => error);
      if (reply === undefined || reply instanceof Error) {
        this.#open = false;
        const why = reply === undefined ? 'the broker said no more' : reply.message;
        return sink.ended(why);
      }
      closeAll(reply.fds);
      const { event } = reply.parameters;
      if (event !== undefined) this.#deliver(event, sink);
      if (!reply.continues) {
        this.#open = false;
        if (event?.type !== 'ended') sink.ended('the broker said no more');
        return;
      }
    }
  }

  #deliver(event: EventRecord, sink: LeaseEventSink): void {
    if (event.type === 'connected') sink.connected?.(event.pid ?? 0);
    if (event.type === 'refused') sink.refused?.(event.reason ?? '');
    if (event.type === 'revoking') sink.revoking(event.reason ?? '', event.graceMs ?? 0);
    if (event.type === 'fault' && event.fault !== undefined) sink.fault(event.fault);
    if (event.type === 'ended') {
      this.#open = false;
      sink.ended(event.reason ?? '');
    }
  }
}
