import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { NearfarError, type Versions } from '../../core/index.ts';
import type { Actor } from '../history/index.ts';
import type { Logger } from '../log.ts';
import type { PublishedModels } from '../published-models.ts';
import type { ModelSnapshot } from '../repository/index.ts';
import type { ServableStore } from '../servables/index.ts';
import type { ChangeOptions } from '../served-models.ts';
import { type Decision, decide, type Evidence } from './decide.ts';
import { type Rollout, type Rules, rolloutOf, type Shadow, shadowVersion, trafficOf } from './plan.ts';
import type { RequestTallies, Tally } from './request-tallies.ts';
import type { ShadowReport, ShadowRuns } from './shadow-runs.ts';

/** The time, and its beat. */
export interface RolloutClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls again and again, until it is disposed. */
  every(ms: number, callback: () => void): Disposable;
}

export interface RolloutsOptions {
  readonly published: PublishedModels;
  readonly tallies: RequestTallies;
  readonly shadows: ShadowRuns;
  readonly servables: Pick<ServableStore, 'status'>;
  readonly log: Logger;
  readonly clock?: RolloutClock | undefined;
}

/** What a rollout is, and what it is decided by. */
export interface RolloutStatus {
  readonly rollout: Rollout | undefined;
  readonly measured?: { readonly candidate: Tally; readonly baseline: Tally; readonly shadow: Evidence['shadow'] } | undefined;
  /** What would be decided now, of one that runs. */
  readonly decision?: Decision | undefined;
}

/** What a rollout would do. */
export interface DryRun {
  readonly dryRun: true;
  /** Shares of clients by label, step by step, with what each waits for. */
  readonly steps: readonly string[];
  /** What would be decided by what was measured up to now, if the first step were over. */
  readonly decision: Decision;
  readonly measured: NonNullable<RolloutStatus['measured']>;
}

/** So often rules are looked at, in milliseconds. */
const beatMs = 500;

const byServer: Actor = { who: 'server', way: 'server' };

const systemClock: RolloutClock = {
  now: Date.now,
  every: (ms, callback) => {
    const timer = setInterval(callback, ms);
    timer.unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  },
};

/**
 * Gives new versions their share of the clients step by step, and takes them back, by rules. All that a restart needs is in versions.json; what
 * is measured begins anew then, at the same step. Several servers of one repository decide each by its own requests: the first one to
 * decide changes the file, the others follow it.
 */
export class Rollouts implements Disposable {
  readonly #options: RolloutsOptions;
  readonly #clock: RolloutClock;
  readonly #beat: Disposable;
  /** Models with a rollout that runs, as versions.json has it. */
  readonly #running = new Map<string, Rollout>();
  readonly #deciding = new Set<string>();

  constructor(options: RolloutsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#beat = this.#clock.every(beatMs, () => void this.look());
  }

  /** Takes over what versions.json says of a model. */
  apply({ name, published }: Pick<ModelSnapshot, 'name' | 'published'>): void {
    const rollout = rolloutOf(published);
    const before = this.#running.get(name);
    if (rollout?.state !== 'running') this.#running.delete(name);
    else this.#running.set(name, rollout);
    // Each step has requests of its own.
    if (rollout && (rollout.id !== before?.id || rollout.step !== before.step)) this.#options.tallies.begin(name);
  }

  forget(name: string): void {
    this.#running.delete(name);
  }

  /** Decides about every rollout that runs. */
  async look(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((name) => this.#lookAt(name)));
  }

  /**
   * Begins a rollout: the first share is given at once.
   * @throws {NearfarError} `failed-precondition` where one runs, or a label or shadow runs are missing; what changing versions.json throws.
   */
  async start(name: string, rules: Rules, { by = byServer, signal }: ChangeOptions = {}): Promise<RolloutStatus> {
    const at = new Date(this.#clock.now()).toISOString();
    const edit = (versions: Versions): Versions => {
      const { version, baseline } = this.#assertPossible(name, versions, rules);
      const { dryRun: _, ...plan } = rules;
      const share = rules.steps[0]?.share ?? 0;
      const statement = `version ${version} begins with ${share} %`;
      const rollout: Rollout = {
        ...plan,
        id: randomUUID(),
        version,
        baseline,
        state: 'running',
        step: 0,
        startedAt: at,
        stepStartedAt: at,
        statement,
      };
      return withTraffic({ ...versions, rollout }, rules.label, share);
    };
    const message = `a rollout of label ${rules.label} begins`;
    await this.#options.published.change(name, { by, signal, action: 'rollout', to: { rollout: rules }, message, edit });
    return this.status(name);
  }

  /** Says what {@link start} would do, and does nothing. @throws as {@link start}. */
  dryRun(name: string, rules: Rules): DryRun {
    const versions = this.#versionsOf(name);
    const { version, baseline } = this.#assertPossible(name, versions, rules);
    const at = new Date(this.#clock.now()).toISOString();
    const rollout: Rollout = {
      ...rules,
      id: '',
      version,
      baseline,
      state: 'running',
      step: 0,
      startedAt: at,
      stepStartedAt: at,
      statement: '',
    };
    const evidence = this.#evidence(name, rollout);
    const overAt = this.#clock.now() + (rules.steps[0]?.minutes ?? 0) * 60_000;
    return {
      dryRun: true,
      steps: rules.steps.map(({ share, minutes, requests = rules.conditions.minRequests }, index) => {
        const traffic = trafficOf(rules.label, share) ?? { stable: 100 };
        const shares = Object.entries(traffic).map(([label, percent]) => `${label} ${percent} %`);
        const what = [...(minutes === undefined ? [] : [`${minutes} minutes`]), ...(share === 0 ? [] : [`${requests} requests`])];
        const then = index + 1 < rules.steps.length ? 'the next step' : `version ${version} is stable`;
        return `${shares.join(', ')}; after ${what.join(' and ') || 'its shadow runs'} ${then}`;
      }),
      decision: decide(rollout, evidence, overAt),
      measured: evidence,
    };
  }

  /** Ends a rollout: all clients get `stable`. @throws {NearfarError} `failed-precondition` where none runs. */
  async abort(name: string, { by = byServer, signal }: ChangeOptions = {}): Promise<RolloutStatus> {
    const edit = (versions: Versions): Versions => {
      const rollout = rolloutOf(versions);
      if (rollout?.state !== 'running') throw new NearfarError('failed-precondition', `no rollout of ${name} runs`, { details: { name } });
      const ended: Rollout = { ...rollout, state: 'aborted', statement: `version ${rollout.version} is taken back by ${by.who}` };
      return withTraffic({ ...versions, rollout: ended }, rollout.label, 0);
    };
    await this.#options.published.change(name, {
      by,
      signal,
      action: 'rollout',
      to: { rollout: 'aborted' },
      message: 'the rollout is aborted',
      edit,
    });
    return this.status(name);
  }

  /** @throws {NearfarError} `not-found`; `failed-precondition` for a model without versions.json. */
  status(name: string): RolloutStatus {
    const rollout = rolloutOf(this.#versionsOf(name));
    if (!rollout) return { rollout };
    const measured = this.#evidence(name, rollout);
    return { rollout, measured, ...(rollout.state === 'running' && { decision: decide(rollout, measured, this.#clock.now()) }) };
  }

  /** @throws as {@link status}. */
  shadow(name: string): ShadowReport | undefined {
    this.#versionsOf(name);
    return this.#options.shadows.report(name);
  }

  /**
   * Sets up shadow runs, or ends them for undefined.
   * @throws {NearfarError} `failed-precondition` for a label or version that is not there; what changing versions.json throws.
   */
  async setShadow(
    name: string,
    shadow: Shadow | undefined,
    { by = byServer, signal }: ChangeOptions = {},
  ): Promise<ShadowReport | undefined> {
    const edit = ({ shadow: before, ...versions }: Versions): Versions => {
      if (!shadow) {
        if (before === undefined) throw new NearfarError('not-found', `${name} has no shadow runs`, { details: { name } });
        return versions;
      }
      const version = shadowVersion(shadow, versions.labels);
      if (version !== undefined && versions.versions.some((known) => known.version === version)) return { ...versions, shadow };
      const what = shadow.label === undefined ? `version ${shadow.version}` : `label ${shadow.label}`;
      throw new NearfarError('failed-precondition', `versions.json of ${name} has no ${what}`, { details: { name, ...shadow } });
    };
    const report = shadow ? undefined : this.#options.shadows.report(name);
    const message =
      report && `of ${report.compared} shadow runs of version ${report.version} ${report.agreed} agreed, ${report.failed} failed`;
    await this.#options.published.change(name, { by, signal, to: { shadow: shadow ?? {} }, message, edit });
    return this.#options.shadows.report(name);
  }

  [Symbol.dispose](): void {
    this.#beat[Symbol.dispose]();
  }

  #versionsOf(name: string): Versions {
    const versions = this.#options.published.versions(name);
    if (versions) return versions;
    this.#options.servables.status({ name }); // throws for a model that is not there
    throw new NearfarError('failed-precondition', `${name} has no versions.json: its versions were not published`, { details: { name } });
  }

  #assertPossible(name: string, versions: Versions, { label, conditions, steps }: Rules): { version: string; baseline: string } {
    const refuse = (why: string) =>
      new NearfarError('failed-precondition', `a rollout of ${name} cannot begin: ${why}`, { details: { name, label } });
    if (rolloutOf(versions)?.state === 'running') throw refuse('another one runs; abort it first');
    const labelled = (wanted: string) => (Object.hasOwn(versions.labels, wanted) ? versions.labels[wanted] : undefined);
    const [version, baseline] = [labelled(label), labelled('stable')];
    if (baseline === undefined) throw refuse('versions.json has no label stable');
    if (version === undefined) throw refuse(`versions.json has no label ${label}`);
    if (version === baseline) throw refuse(`${label} and stable are the same version, ${version}`);
    const shadow = this.#options.shadows.report(name);
    if (conditions.minAgreement !== undefined && shadow?.version !== version) {
      throw refuse(`its minAgreement is of shadow runs, and version ${version} has none (nearfar shadow ${name} ${label})`);
    }
    if (steps[0]?.share === 0 && conditions.minAgreement === undefined)
      throw refuse('a first step of 0 % is for shadow runs, of which no agreement is asked');
    return { version, baseline };
  }

  #evidence(name: string, { version, baseline }: Rollout): Evidence & NonNullable<RolloutStatus['measured']> {
    const { tallies, shadows } = this.#options;
    const shadow = shadows.report(name);
    const { compared, agreed } = shadow?.version === version ? shadow : { compared: 0, agreed: 0 };
    return {
      candidate: tallies.of(name, version),
      baseline: tallies.of(name, baseline),
      shadow: { compared, agreed },
      failure: this.#failureOf(name, version),
    };
  }

  #failureOf(name: string, version: string): string | undefined {
    try {
      const [status] = this.#options.servables.status({ name, version });
      return status && status.state !== 'AVAILABLE' && status.errorCode !== 0 ? status.errorMessage : undefined;
    } catch {
      return undefined; // it has not been looked for yet
    }
  }

  async #lookAt(name: string): Promise<void> {
    const rollout = this.#running.get(name);
    const versions = this.#options.published.versions(name);
    if (!rollout || !versions || this.#deciding.has(name)) return;
    const changed = changedByOthers(rollout, versions);
    const decision: Decision | undefined =
      changed === undefined ? decide(rollout, this.#evidence(name, rollout), this.#clock.now()) : undefined;
    const kind = decision?.kind ?? 'abort';
    if (kind === 'wait') return;
    this.#deciding.add(name);
    try {
      const evidence = this.#evidence(name, rollout);
      const statement = decision?.statement ?? `version ${rollout.version} is left as it is: ${changed}`;
      await this.#options.published.change(name, {
        by: byServer,
        action: 'rollout',
        to: { rollout: kind },
        message: statement,
        edit: (current) => {
          const now = rolloutOf(current);
          // Another server, or somebody, was faster.
          if (now?.id !== rollout.id || now.step !== rollout.step || now.state !== 'running') return current;
          const at = new Date(this.#clock.now()).toISOString();
          return after(current, { ...now, statement }, kind, { at, p99Ms: evidence.baseline.p99Ms });
        },
      });
      this.#options.log.info({ model: name, version: rollout.version, decision: kind }, statement);
    } catch (error) {
      // It is tried again at the next beat.
      this.#options.log.error({ model: name, err: error }, 'a decision about a rollout could not be carried out');
    } finally {
      this.#deciding.delete(name);
    }
  }
}

/** Why rules have no more say: somebody has changed what they had set. */
function changedByOthers({ label, version, baseline, steps, step }: Rollout, { labels, traffic }: Versions): string | undefined {
  if (labels['stable'] !== baseline) return `stable is version ${labels['stable']} now`;
  if (labels[label] !== version) return `${label} is version ${labels[label]} now`;
  const expected = trafficOf(label, steps[step]?.share ?? 0) ?? {};
  return isDeepStrictEqual({ ...expected }, { ...traffic }) ? undefined : 'its share was changed';
}

function after(
  versions: Versions,
  rollout: Rollout,
  kind: Exclude<Decision['kind'], 'wait'> | 'abort',
  { at, p99Ms }: { readonly at: string; readonly p99Ms: number | undefined },
): Versions {
  const { label, version } = rollout;
  switch (kind) {
    case 'advance': {
      const baselineP99Ms = p99Ms ?? rollout.baselineP99Ms;
      const next: Rollout = {
        ...rollout,
        step: rollout.step + 1,
        stepStartedAt: at,
        ...(baselineP99Ms !== undefined && { baselineP99Ms }),
      };
      return withTraffic({ ...versions, rollout: next }, label, next.steps[next.step]?.share ?? 100);
    }
    case 'promote':
      return withTraffic(
        { ...versions, labels: { ...versions.labels, stable: version }, rollout: { ...rollout, state: 'promoted' } },
        label,
        0,
      );
    case 'rollback':
      return withTraffic({ ...versions, rollout: { ...rollout, state: 'rolled-back' } }, label, 0);
    case 'abort': {
      const ended: Versions = { ...versions, rollout: { ...rollout, state: 'aborted' } };
      // Shares that somebody has set stay; those of a version that is no longer meant do not.
      const isOurs = isDeepStrictEqual({ ...trafficOf(label, rollout.steps[rollout.step]?.share ?? 0) }, { ...versions.traffic });
      return isOurs ? withTraffic(ended, label, 0) : ended;
    }
  }
}

function withTraffic({ traffic: _, ...versions }: Versions, label: string, share: number): Versions {
  const traffic = trafficOf(label, share);
  return traffic ? { ...versions, traffic } : versions;
}
