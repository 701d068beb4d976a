import { Counter, Histogram, type MetricObjectWithValues, type MetricValue, type Registry } from 'prom-client';

interface SeriesConfiguration {
  readonly name: string;
  readonly help: string;
  readonly registry: Registry;
}

type Labels = Readonly<Record<string, string>>;

// prom-client finds a series by its labels at every observation: sorted, joined and checked, a microsecond each. Callers of these hold on to
// the series itself, so that an observation is an addition; the values of the page are made when it is asked for.

/** A counter whose callers hold on to its series. */
export class SeriesCounter extends Counter {
  readonly #series = new SeriesTable<CounterSeries>((labels) => new CounterSeries(labels));

  constructor({ name, help, registry }: SeriesConfiguration) {
    super({ name, help, registers: [registry] });
  }

  series(labels: Labels): CounterSeries {
    return this.#series.get(labels);
  }

  /** Takes the series off the page that have these labels, among others. */
  forget(labels: Labels): void {
    this.#series.forget(labels);
  }

  override async get(): Promise<MetricObjectWithValues<MetricValue<string>>> {
    return { ...(await super.get()), values: this.#series.all().map(({ labels, value }) => ({ labels, value })) };
  }
}

/** A histogram whose callers hold on to its series. */
export class SeriesHistogram extends Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #series: SeriesTable<HistogramSeries>;

  constructor({ name, help, registry, bounds }: SeriesConfiguration & { readonly bounds: readonly number[] }) {
    super({ name, help, buckets: [...bounds], registers: [registry] });
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#series = new SeriesTable((labels) => new HistogramSeries(labels, bounds));
  }

  series(labels: Labels): HistogramSeries {
    return this.#series.get(labels);
  }

  /** Takes the series off the page that have these labels, among others. */
  forget(labels: Labels): void {
    this.#series.forget(labels);
  }

  /** What prom-client makes the page, and the answer of `get`, from. */
  async getForPromString(): Promise<object> {
    const name = this.#name;
    const values = this.#series.all().flatMap(({ labels: sharedLabels, counts, sum }) => {
      let count = 0;
      const buckets = [...this.#bounds, '+Inf'].map((le, index) => {
        count += counts[index] ?? 0;
        return { labels: { le }, sharedLabels, value: count, metricName: `${name}_bucket` };
      });
      return [
        ...buckets,
        { labels: {}, sharedLabels, value: sum, metricName: `${name}_sum` },
        { labels: {}, sharedLabels, value: count, metricName: `${name}_count` },
      ];
    });
    return { name, help: this.#help, type: 'histogram', aggregator: 'sum', values };
  }
}

class CounterSeries {
  readonly labels: Labels;
  value = 0;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  add(amount = 1): void {
    this.value += amount;
  }
}

class HistogramSeries {
  readonly labels: Labels;
  readonly counts: Float64Array;
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.counts = new Float64Array(bounds.length + 1);
    this.#bounds = bounds;
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++; // the loop bound keeps the index inside
    this.counts[bucket]! += 1;
    this.sum += value;
  }
}

class SeriesTable<S extends { readonly labels: Labels }> {
  readonly #series = new Map<string, S>();
  readonly #create: (labels: Labels) => S;

  constructor(create: (labels: Labels) => S) {
    this.#create = create;
  }

  get(labels: Labels): S {
    const key = JSON.stringify(Object.values(labels));
    const series = this.#series.get(key) ?? this.#create(labels);
    this.#series.set(key, series);
    return series;
  }

  all(): readonly S[] {
    return [...this.#series.values()];
  }

  forget(match: Labels): void {
    for (const [key, { labels }] of this.#series) {
      if (Object.entries(match).every(([name, value]) => labels[name] === value)) this.#series.delete(key);
    }
  }
}
