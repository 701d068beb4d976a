import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { Answers } from './answers.ts';
import { type Baseline, BaselineFiles } from './baselines.ts';
import { type Distance, distancesOf } from './distance.ts';
import { type DescribedSummary, describeSummary, joinSummaries, type Summary, summarise } from './summary.ts';

/** Whose answers those of a version are compared with: its own first ones, or the ones of the version before it where there are some. */
export type DriftReference = 'first' | 'previous';

export interface DriftOptions {
  /** Rows of one window. What is compared are the last full window and the one that is being filled. */
  readonly windowRows: number;
  readonly reference: DriftReference;
  /** Where baselines are kept; undefined: in memory alone. */
  readonly folder: string | undefined;
  readonly log: Pick<Logger, 'error'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Whose answers are looked at. */
export interface MonitoredVersion {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
}

/** What is told of one output of one version. */
export interface DriftReport {
  readonly version: string;
  readonly signature: string;
  readonly output: string;
  /** Rows that were looked at since the server began. */
  readonly rows: number;
  /** The answers of now; null before there are any. */
  readonly present: DescribedSummary | null;
  /** Null while there is none yet. */
  readonly reference: DescribedReference | null;
  /** None while there are too few answers on either side. */
  readonly distances: readonly Distance[];
}

export type DescribedReference = DescribedSummary & Pick<Baseline, 'version' | 'source' | 'at'>;

interface Monitor {
  readonly signature: string;
  readonly output: string;
  rows: number;
  last: Summary | undefined;
  current: Summary | undefined;
}

interface Version {
  readonly version: string;
  readonly digest: string;
  readonly monitors: Map<string, Monitor>;
  baseline: Baseline | undefined;
}

interface Model {
  readonly versions: Map<string, Version>;
  /** Until the baselines on the disk are read none is made of first answers. */
  isRead: boolean;
}

/** Versions of a model whose answers are known; those that went first are forgotten first. */
const mostVersions = 16;
/** Of those on the disk, the highest ones. */
const mostRead = 8;

/**
 * Compares what versions answer with what they, or the versions before them, answered before. Counts and sums are kept, no input and no
 * answer.
 */
export class DriftMonitors {
  readonly #options: DriftOptions;
  readonly #files: BaselineFiles | undefined;
  readonly #models = new Map<string, Model>();
  #writing: Promise<void> = Promise.resolve();

  constructor(options: DriftOptions) {
    this.#options = options;
    this.#files = options.folder === undefined ? undefined : new BaselineFiles(options.folder);
  }

  /** Takes the answers of one run. */
  add(of: MonitoredVersion, signature: string, answers: readonly Answers[]): void {
    const { windowRows } = this.#options;
    const model = this.#modelOf(of.name);
    const version = versionOf(model, of);
    for (const each of answers) {
      const monitor = monitorOf(version, signature, each.output);
      monitor.rows += each.rows.length;
      monitor.current = summarise(monitor.current, each);
      if (monitor.current.rows < windowRows) continue;
      monitor.last = monitor.current;
      monitor.current = undefined;
      if (model.isRead && !summaryIn(version.baseline, monitor)) this.#keepFirst(of, version, monitor, monitor.last);
    }
  }

  /** What is known of the versions of a model, or of one of them. */
  report(name: string, version?: string): readonly DriftReport[] {
    const model = this.#models.get(name);
    return [...(model?.versions.values() ?? [])]
      .filter((each) => version === undefined || each.version === version)
      .sort(byVersion)
      .flatMap((each) => [...each.monitors.values()].map((monitor) => this.#reportOf(model!, each, monitor)));
  }

  /** Of every model, for the page of metrics. */
  reportAll(): readonly (DriftReport & { readonly model: string })[] {
    return [...this.#models.keys()].flatMap((model) => this.report(model).map((report) => ({ model, ...report })));
  }

  /**
   * Compares with the answers of now from here on.
   * @throws {NearfarError} `failed-precondition` where there are too few; what the disk throws.
   */
  async choose(name: string, version: string): Promise<Baseline> {
    const known = this.#models.get(name)?.versions.get(version);
    const outputs = [...(known?.monitors.values() ?? [])].flatMap((monitor) => {
      const summary = joinSummaries(monitor.last, monitor.current);
      return summary && summary.rows >= this.#leastRows ? [{ signature: monitor.signature, output: monitor.output, summary }] : [];
    });
    if (!known || outputs.length === 0) {
      throw new NearfarError(
        'failed-precondition',
        `a baseline takes ${this.#leastRows} answers that were looked at; ${name} version ${version} has fewer`,
        {
          details: {
            model: name,
            version,
            want: this.#leastRows,
            got: Math.max(0, ...[...(known?.monitors.values() ?? [])].map(({ rows }) => rows)),
          },
        },
      );
    }
    const baseline: Baseline = {
      model: name,
      version,
      digest: known.digest,
      source: 'chosen',
      at: this.#time(),
      outputs: outputs.map(copied),
    };
    await this.#write(baseline);
    known.baseline = baseline;
    return baseline;
  }

  /** A version that is gone keeps its baseline, for the one that comes after it. */
  forgetVersion(name: string, version: string): void {
    this.#models.get(name)?.versions.get(version)?.monitors.clear();
  }

  forgetModel(name: string): void {
    this.#models.delete(name);
  }

  get #leastRows(): number {
    return Math.ceil(this.#options.windowRows / 2);
  }

  #time(): string {
    return new Date(this.#options.now()).toISOString();
  }

  #modelOf(name: string): Model {
    const known = this.#models.get(name);
    if (known) return known;
    const model: Model = { versions: new Map(), isRead: this.#files === undefined };
    this.#models.set(name, model);
    if (this.#files) void this.#read(name, model, this.#files);
    return model;
  }

  async #read(name: string, model: Model, files: BaselineFiles): Promise<void> {
    const baselines = await files.read(name).catch((error: unknown) => {
      this.#options.log.error({ model: name, err: error }, 'baselines of drift cannot be read');
      return [];
    });
    const newest = [...baselines].sort(byVersion).slice(0, mostRead);
    for (const baseline of newest) {
      // A version that was published anew under its number is another one.
      const served = model.versions.get(baseline.version);
      if (!served || served.digest === baseline.digest) versionOf(model, { ...baseline, name }).baseline = baseline;
    }
    model.isRead = true;
  }

  #keepFirst({ name }: MonitoredVersion, version: Version, { signature, output }: Monitor, summary: Summary): void {
    const outputs = [...(version.baseline?.outputs ?? []), { signature, output, summary }];
    const { digest } = version;
    const { source = 'first' } = version.baseline ?? {};
    const baseline: Baseline = { model: name, version: version.version, digest, source, at: this.#time(), outputs };
    version.baseline = baseline;
    this.#write(baseline).catch((error: unknown) => {
      this.#options.log.error({ model: name, err: error }, 'a baseline of drift cannot be written');
    });
  }

  /** One after the other: the last one counts. */
  #write(baseline: Baseline): Promise<void> {
    const writing = this.#writing.then(() => this.#files?.write(baseline));
    this.#writing = writing.catch(() => {});
    return writing;
  }

  #reportOf(model: Model, version: Version, monitor: Monitor): DriftReport {
    const { signature, output, rows } = monitor;
    const present = joinSummaries(monitor.last, monitor.current);
    const baseline = this.#referenceOf(model, version, monitor);
    const reference = baseline && summaryIn(baseline, monitor);
    const isEnough = present !== undefined && present.rows >= this.#leastRows;
    return {
      version: version.version,
      signature,
      output,
      rows,
      present: present ? describeSummary(present) : null,
      reference: reference ? { ...describeSummary(reference), version: baseline.version, source: baseline.source, at: baseline.at } : null,
      distances: reference && isEnough ? distancesOf(reference, present) : [],
    };
  }

  #referenceOf(model: Model, version: Version, monitor: Monitor): Baseline | undefined {
    const own = version.baseline;
    if (this.#options.reference === 'first' || own?.source === 'chosen') return own;
    const before = [...model.versions.values()]
      .filter((other) => BigInt(other.version) < BigInt(version.version) && summaryIn(other.baseline, monitor))
      .sort((a, b) => Number(BigInt(b.version) - BigInt(a.version)));
    return before[0]?.baseline ?? own;
  }
}

/** The highest first. */
function byVersion(a: { readonly version: string }, b: { readonly version: string }): number {
  return Number(BigInt(b.version) - BigInt(a.version));
}

function versionOf(model: Model, { version, digest }: MonitoredVersion): Version {
  const known = model.versions.get(version);
  if (known?.digest === digest) return known;
  const created: Version = { version, digest, monitors: new Map(), baseline: undefined };
  model.versions.delete(version);
  model.versions.set(version, created);
  const [oldest] = model.versions.keys();
  if (model.versions.size > mostVersions && oldest !== undefined) model.versions.delete(oldest);
  return created;
}

function monitorOf({ monitors }: Version, signature: string, output: string): Monitor {
  const key = `${signature}\n${output}`;
  const known = monitors.get(key);
  if (known) return known;
  const monitor: Monitor = { signature, output, rows: 0, last: undefined, current: undefined };
  monitors.set(key, monitor);
  return monitor;
}

function summaryIn(baseline: Baseline | undefined, { signature, output }: Pick<Monitor, 'signature' | 'output'>): Summary | undefined {
  return baseline?.outputs.find((each) => each.signature === signature && each.output === output)?.summary;
}

/** Of its own: the present goes on to be counted. */
function copied<T extends { readonly summary: Summary }>(each: T): T {
  return { ...each, summary: structuredClone(each.summary) };
}
