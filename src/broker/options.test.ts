import { describe, expect, it } from 'vitest';
import { deadlinesWithPatience, defaultDeadlines } from './options.js';

describe('patience', () => {
  it('of 1 is the default', () => {
    expect(deadlinesWithPatience(1)).toEqual(defaultDeadlines);
  });

  it('is with the device, not with clients', () => {
    const { listenConnectMs, listenNegotiateMs, fencedEndpointMs, holderLeaveMs, ...rest } =
      defaultDeadlines;
    const longer = Object.entries(rest).map(([name, ms]) => [name, ms * 7]);
    expect(deadlinesWithPatience(7)).toEqual({
      ...Object.fromEntries(longer),
      ...{ listenConnectMs, listenNegotiateMs, fencedEndpointMs, holderLeaveMs },
    });
  });
});
