import type { Rollout } from './plan.ts';
import type { Tally } from './request-tallies.ts';

/** What is known of the step that a rollout is at. */
export interface Evidence {
  readonly candidate: Tally;
  readonly baseline: Tally;
  /** Of the shadow runs of the new version. */
  readonly shadow: { readonly compared: number; readonly agreed: number };
  /** Why the new version cannot be loaded. */
  readonly failure?: string | undefined;
}

export interface Decision {
  readonly kind: 'wait' | 'advance' | 'promote' | 'rollback';
  /** Why, with the numbers it was decided by. */
  readonly statement: string;
}

/** What is to become of a rollout that runs: a pure function of its rules, what was measured, and the time. */
export function decide(rollout: Rollout, { candidate, baseline, shadow, failure }: Evidence, nowMs: number): Decision {
  const { version, conditions, steps, step } = rollout;
  const { maxErrorRate, maxP99Ratio, maxP99Ms, minAgreement, minRequests, minCompared } = conditions;
  const current = steps[step] ?? { share: 100 };
  const at = `version ${version} at ${current.share} %`;
  const rollback = (why: string): Decision => ({ kind: 'rollback', statement: `${at} is taken back: ${why}` });
  const waiting: string[] = [];

  if (failure !== undefined) return rollback(`it cannot be loaded, ${failure}`);

  const { requests, errors, p99Ms } = candidate;
  // However many succeed up to the least number of requests, the rate stays above.
  if (errors > maxErrorRate * Math.max(requests, minRequests)) {
    const rate = `${percent(errors / Math.max(requests, 1))} (${errors} of ${requests})`;
    return rollback(`its error rate is ${rate}, at most ${percent(maxErrorRate)} is allowed`);
  }
  if (requests >= minRequests && p99Ms !== undefined) {
    if (maxP99Ms !== undefined && p99Ms > maxP99Ms) return rollback(`its p99 is ${ms(p99Ms)}, at most ${ms(maxP99Ms)} is allowed`);
    const before = baseline.requests >= minRequests ? baseline.p99Ms : rollout.baselineP99Ms;
    if (maxP99Ratio !== undefined && before !== undefined && p99Ms > maxP99Ratio * before) {
      return rollback(
        `its p99 is ${ms(p99Ms)}, ${(p99Ms / before).toFixed(2)} times the ${ms(before)} of version ${rollout.baseline}; at most ${maxP99Ratio} times is allowed`,
      );
    }
    if (maxP99Ratio !== undefined && before === undefined) {
      waiting.push(`${baseline.requests} of ${minRequests} requests to version ${rollout.baseline}, to compare with`);
    }
  }
  if (minAgreement !== undefined) {
    const { compared, agreed } = shadow;
    if (compared >= minCompared && agreed / compared < minAgreement) {
      return rollback(`${percent(agreed / compared)} of its ${compared} shadow runs agree, at least ${percent(minAgreement)} must`);
    }
    if (compared < minCompared) waiting.push(`${compared} of ${minCompared} shadow runs`);
  }

  const wanted = current.share === 0 ? 0 : Math.max(minRequests, current.requests ?? 0);
  if (requests < wanted) waiting.push(`${requests} of ${wanted} requests`);
  const minutes = (nowMs - Date.parse(rollout.stepStartedAt)) / 60_000;
  if (current.minutes !== undefined && minutes < current.minutes) waiting.push(`${minutes.toFixed(1)} of ${current.minutes} minutes`);
  if (waiting.length > 0) return { kind: 'wait', statement: `${at} waits: ${waiting.join(', ')}` };

  const measured = [
    `${requests} requests with ${errors} errors`,
    ...(p99Ms === undefined ? [] : [`p99 ${ms(p99Ms)}`]),
    ...(minAgreement === undefined ? [] : [`${percent(shadow.agreed / shadow.compared)} of ${shadow.compared} shadow runs agree`]),
  ].join(', ');
  const next = steps[step + 1];
  if (next) return { kind: 'advance', statement: `${at} goes on to ${next.share} %: ${measured}` };
  return { kind: 'promote', statement: `${at} becomes stable: ${measured}` };
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(2))} %`;
}

function ms(value: number): string {
  return `${Number(value.toPrecision(3))} ms`;
}
