// What the commands of one connection share.
import type { VfioUserEndpoint } from './endpoint.js';
import type { MigrationSession } from './migration/session.js';
import type { Capabilities } from './version.js';

export interface CommandContext {
  readonly endpoint: VfioUserEndpoint;
  /** What the client said of itself. */
  readonly peer: Capabilities;
  /** What the server answered. */
  readonly agreed: Capabilities;
  readonly migration: MigrationSession;
  /**
   * False once the connection is fenced or over: a command that calls the endpoint more than once
   * asks before each further call.
   */
  isLive(): boolean;
}
