// Every group of cases, in the order in which they run.
import type { Group } from '../case.js';
import { counterGroup } from './counter.js';
import { eduGroup, eduMessageGroup } from './edu.js';
import { leaseGroup, servedLeaseGroup } from './lease.js';
import { mqdmaGroup, mqdmaMessageGroup } from './mqdma.js';
import { neighboursGroup } from './neighbours.js';

export const groups: readonly Group[] = [
  counterGroup,
  eduGroup,
  eduMessageGroup,
  mqdmaGroup,
  mqdmaMessageGroup,
  neighboursGroup,
  leaseGroup,
  servedLeaseGroup,
];
