// All groups of cases, in the order in which they run.
import type { CaseGroup, RealCase } from '../case.js';
import { FunctionStage } from '../function-stage.js';
import { caseGroup } from '../group.js';
import { type Underside, undersides } from '../underside.js';
import { contractGroup } from './contracts.js';
import { endCases } from './ends.js';
import { boundsCases, iommuCases } from './faults.js';
import { functionLifeCases } from './function-life.js';
import { programGroup } from './programs.js';
import { exclusiveCases, workCases } from './work.js';

function casesOf({ device, address }: Underside): readonly RealCase<FunctionStage>[] {
  const own = device === 'edu' ? [...exclusiveCases, ...iommuCases] : boundsCases;
  return [...workCases, ...own, ...endCases, ...functionLifeCases(address !== undefined)];
}

export const groups: readonly CaseGroup[] = [
  ...undersides.map((underside) =>
    caseGroup({
      name: underside.name,
      open: (flavour) => FunctionStage.open(underside, flavour),
      cases: casesOf(underside),
    }),
  ),
  contractGroup,
  programGroup,
];
