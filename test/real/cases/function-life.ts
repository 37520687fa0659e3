// What ends every lease at once: a reset, the host that wants its function back, a broker's end.

import { setTimeout as sleep } from 'node:timers/promises';
import type { RealCase } from '../case.js';
import { check, checkEqual, checkMatch } from '../check.js';
import { type FunctionStage, type RealClient, soon } from '../function-stage.js';
import { bindToVfio, driverOf } from '../sysfs.js';
import { checkCut } from './ends.js';

/** An unbind waits until the broker has closed the device. */
const unbindMsMax = 20_000;
/** No client of a killed broker may wait longer to know. */
const noticeMsMax = 10_000;
const quietMs = 500;

async function crowd(stage: FunctionStage): Promise<RealClient[]> {
  const count = Math.min(2, stage.underside.tenants);
  const clients = [];
  for (let index = 0; index < count; index += 1) clients.push(await stage.tenant());
  for (const client of clients) await client.startWork();
  await sleep(50);
  return clients;
}

async function newTenantWorks(stage: FunctionStage): Promise<void> {
  checkEqual(await (await stage.tenant()).work(3), 'ok', 'work of a new tenant');
}

const unbindCase: RealCase<FunctionStage> = {
  name: 'the function is unbound with leases in use: they end, and the host gets it',
  async run(stage) {
    const address = stage.underside.address ?? '';
    const clients = await crowd(stage);
    const broker = await stage.broker();
    const unbind = stage.bench.start(
      ['-c', `echo ${address} > /sys/bus/pci/devices/${address}/driver/unbind`],
      { program: ['/bin/sh'] },
    );
    const startMs = performance.now();
    for (const client of clients) {
      const sight = await client.ended();
      checkMatch(sight.reason, /gone|wants/, 'the reason');
      checkCut(stage, sight);
    }
    checkEqual((await unbind.finished).status, 0, 'status of the unbind');
    const tookMs = performance.now() - startMs;
    check(tookMs < unbindMsMax, `the unbind took ${tookMs.toFixed()} ms`);
    checkEqual(driverOf(address), undefined, 'the driver');
    const { status } = await broker.stop();
    checkEqual(status, 0, 'status of the broker');
    stage.forgetBroker();
    bindToVfio(address);
    await newTenantWorks(stage);
  },
};

const lifeCases: readonly RealCase<FunctionStage>[] = [
  {
    name: 'the function is reset with leases in use: a new epoch, and all begins anew',
    async run(stage) {
      const clients = await crowd(stage);
      const { epoch } = (await stage.control.info()).function;
      checkEqual(await stage.admin.reset('for a test'), epoch + 1, 'the epoch');
      for (const client of clients) {
        const sight = await client.ended();
        checkMatch(sight.reason, /reset/, 'the reason');
        checkCut(stage, sight);
      }
      await newTenantWorks(stage);
    },
  },
  {
    name: 'the broker is killed while clients work: nothing hangs, the device is quiet, and a new broker starts',
    async run(stage) {
      const clients = await crowd(stage);
      const broker = await stage.broker();
      const startMs = performance.now();
      await broker.stop('SIGKILL');
      stage.forgetBroker();
      for (const client of clients) {
        const sight = await client.ended();
        check(sight.closed, 'the lease is not closed');
        checkCut(stage, sight);
        await client.stopWork();
      }
      const tookMs = performance.now() - startMs;
      check(tookMs < noticeMsMax, `clients knew after ${tookMs.toFixed()} ms`);
      await soon('the device can be opened again', () => stage.broker().then(() => true));
      stage.deviceLog.takeRefusals();
      stage.kernelLog.takeFaults();
      await sleep(quietMs);
      checkEqual(stage.deviceLog.takeRefusals(), [], "the server's refusals");
      checkEqual(stage.kernelLog.takeFaults(), [], "the IOMMU's faults");
      await newTenantWorks(stage);
    },
  },
  {
    name: 'the broker is ended while clients work: it takes all back and ends well',
    async run(stage) {
      const clients = await crowd(stage);
      const broker = await stage.broker();
      const { status, stderr } = await broker.stop('SIGTERM');
      stage.forgetBroker();
      checkEqual(status, 0, `status of the broker, which said ${stderr}`);
      for (const client of clients) checkCut(stage, await client.ended());
      await newTenantWorks(stage);
    },
  },
];

/** Functions of the guest can be unbound, others not. */
export function functionLifeCases(isBound: boolean): readonly RealCase<FunctionStage>[] {
  return isBound ? [...lifeCases, unbindCase] : lifeCases;
}
