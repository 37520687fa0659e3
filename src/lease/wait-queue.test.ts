import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { type Waiter, WaitQueue } from './wait-queue.js';

const waiter = (id: string, priority = 0, uid = 1000): Waiter => ({ id, priority, uid });
const ids = (queue: WaitQueue<Waiter>): string => [...queue].map(({ id }) => id).join(' ');

describe('wait queue', () => {
  test('serves by priority, then by arrival', () => {
    const queue = new WaitQueue<Waiter>();
    for (const [id, priority] of Object.entries({ a: 0, b: 1, c: 0, d: 1, e: -1 })) {
      queue.add(waiter(id, priority));
    }
    expect(ids(queue)).toBe('b d a c e');
    expect(queue.take(() => 'take')?.id).toBe('b');
    expect(ids(queue)).toBe('d a c e');
  });

  test('passes over those that do not fit, but not over one that holds', () => {
    const queue = new WaitQueue<Waiter>();
    for (const id of ['a', 'b', 'c']) queue.add(waiter(id));
    expect(queue.take(({ id }) => (id === 'b' ? 'take' : 'pass'))?.id).toBe('b');
    expect(queue.take(({ id }) => (id === 'a' ? 'hold' : 'take'))).toBeUndefined();
    expect(queue.take(() => 'pass')).toBeUndefined();
    expect(ids(queue)).toBe('a c');
  });

  test('forgets one that gave up', () => {
    const queue = new WaitQueue<Waiter>();
    queue.add(waiter('a'));
    queue.add(waiter('b'));
    expect(queue.cancel('a')?.id).toBe('a');
    expect(queue.cancel('a')).toBeUndefined();
    expect(ids(queue)).toBe('b');
    expect(queue.countOf(1000)).toBe(1);
  });

  test('takes waitersPerUidMax of one uid and not one more', () => {
    const queue = new WaitQueue<Waiter>();
    for (let n = 0; n < limits.waitersPerUidMax; n += 1) queue.add(waiter(`${n}`));
    let refused: unknown;
    try {
      queue.add(waiter('last'));
    } catch (error) {
      refused = error;
    }
    expect(isLessorError(refused, 'QUOTA_EXCEEDED')).toBe(true);
    expect(queue.length).toBe(limits.waitersPerUidMax);
    queue.add(waiter('other', 0, 1001));
    queue.cancel('0');
    queue.add(waiter('last'));
  });

  test('agrees with a plain sorted list under any use', () => {
    const use = fc.oneof(
      fc.record({ add: fc.integer({ min: -2, max: 2 }), uid: fc.nat(2) }),
      fc.record({ cancel: fc.nat(30) }),
      fc.record({ take: fc.nat(2) }),
    );
    fc.assert(
      fc.property(fc.array(use, { maxLength: 60 }), (uses) => {
        const queue = new WaitQueue<Waiter>(5);
        let model: (Waiter & { order: number })[] = [];
        uses.forEach((action, order) => {
          if ('add' in action) {
            const entry = { id: `${order}`, priority: action.add, uid: action.uid, order };
            if (model.filter(({ uid }) => uid === action.uid).length === 5) {
              expect(() => queue.add(entry)).toThrow();
              return;
            }
            queue.add(entry);
            model.push(entry);
            model.sort((one, two) => two.priority - one.priority || one.order - two.order);
          } else if ('cancel' in action) {
            queue.cancel(`${action.cancel}`);
            model = model.filter(({ id }) => id !== `${action.cancel}`);
          } else {
            const wanted = model.find(({ uid }) => uid === action.take);
            const got = queue.take(({ uid }) => (uid === action.take ? 'take' : 'pass'));
            expect(got?.id).toBe(wanted?.id);
            model = model.filter((entry) => entry !== wanted);
          }
          expect(ids(queue)).toBe(model.map(({ id }) => id).join(' '));
        });
      }),
    );
  });
});
