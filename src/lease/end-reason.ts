// Why a lease ends, and the error that says so to whoever asks.
import type { ErrorCode } from '../base/errors.js';
import type { EndReason, LeaseEvent, LeaseEventType } from './types.js';

/** The events that end a lease whatever its holder wants or does. */
export const endEventTypes = [
  'release',
  'holderGone',
  'expire',
  'deny',
  'broken',
  'revoke',
  'functionReset',
  'functionGone',
  'brokerStop',
] as const satisfies readonly LeaseEventType[];
export type EndEventType = (typeof endEventTypes)[number];
export type EndEvent = Extract<LeaseEvent, { type: EndEventType }>;

/** The reason an event gives. */
export function reasonOf(event: EndEvent): EndReason {
  switch (event.type) {
    case 'release':
      return { cause: 'released', detail: 'released by its holder' };
    case 'holderGone':
      return { cause: 'holder died', detail: 'its holder is gone' };
    case 'expire':
      return { cause: 'expired', detail: 'its time is over' };
    case 'deny':
      return { cause: 'denied', detail: event.detail };
    case 'broken':
      return { cause: 'broken', detail: event.detail };
    case 'revoke':
      return { cause: 'revoked', detail: event.detail };
    case 'functionReset':
      return { cause: 'function reset', detail: 'the function is reset' };
    case 'functionGone':
      return { cause: 'function gone', detail: 'the function is gone' };
    case 'brokerStop':
      return { cause: 'broker stop', detail: 'the broker stops' };
  }
}

/** True when the holder did not bring the end about, so that it has to be told. */
export function isAgainstHolder(event: EndEvent): boolean {
  return event.type !== 'release' && event.type !== 'holderGone';
}

/** What an acquirer is told whose request ends before a lease was published. */
export const refusalCodes: Record<EndReason['cause'], ErrorCode> = {
  released: 'LEASE_ENDED',
  'holder died': 'LEASE_ENDED',
  expired: 'NO_FREE_SLICE',
  denied: 'DENIED',
  broken: 'DRIVER_FAILED',
  revoked: 'LEASE_REVOKED',
  'function reset': 'LEASE_STALE',
  'function gone': 'FUNCTION_GONE',
  'broker stop': 'BROKER_GONE',
};

/** What a holder is told that uses a lease which is over, or being taken back. */
export const endedCodes: Record<EndReason['cause'], ErrorCode> = {
  released: 'LEASE_ENDED',
  'holder died': 'LEASE_ENDED',
  expired: 'LEASE_ENDED',
  denied: 'LEASE_REVOKED',
  broken: 'LEASE_REVOKED',
  revoked: 'LEASE_REVOKED',
  'function reset': 'LEASE_STALE',
  'function gone': 'FUNCTION_GONE',
  'broker stop': 'LEASE_REVOKED',
};
