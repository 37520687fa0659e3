// Every rule of the protocol, both roles.
import { argumentRules } from './client-arguments.js';
import { clientCommandRules } from './client-commands.js';
import { clientDmaRules } from './client-dma.js';
import { featureArgumentRules } from './client-feature-arguments.js';
import { featureReplyRules } from './client-feature-replies.js';
import { replyRules } from './client-replies.js';
import type { Rule } from './rule.js';
import { accessRules } from './server-access.js';
import { connectionRules } from './server-connection.js';
import { describeRules } from './server-describe.js';
import { featureRules } from './server-feature.js';
import { irqRules } from './server-irqs.js';
import { memoryRules } from './server-memory.js';
import { migrationRules } from './server-migration.js';
import { multiRules } from './server-multi.js';

export const protocolRules: readonly Rule[] = [
  ...connectionRules,
  ...describeRules,
  ...accessRules,
  ...memoryRules,
  ...irqRules,
  ...multiRules,
  ...featureRules,
  ...migrationRules,
  ...replyRules,
  ...featureReplyRules,
  ...argumentRules,
  ...featureArgumentRules,
  ...clientCommandRules,
  ...clientDmaRules,
];
