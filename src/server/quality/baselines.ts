import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { encodeSummary, type Summary, summarySchema } from './summary.ts';

/** What later answers of a version are compared with. */
export interface Baseline {
  readonly model: string;
  readonly version: string;
  readonly digest: string;
  /** The first answers of the version, or those that were chosen by hand. */
  readonly source: 'first' | 'chosen';
  /** When it was complete: ISO 8601, in UTC. */
  readonly at: string;
  readonly outputs: readonly { readonly signature: string; readonly output: string; readonly summary: Summary }[];
}

const baselineSchema = v.object({
  format: v.literal(1),
  model: v.string(),
  version: v.pipe(v.string(), v.regex(/^[1-9]\d{0,18}$/)),
  digest: v.string(),
  source: v.picklist(['first', 'chosen']),
  at: v.string(),
  outputs: v.array(v.object({ signature: v.string(), output: v.string(), summary: summarySchema })),
});

/** Baselines as files `<folder>/<model>/<version>.json`, which outlive the server; servers may share them. */
export class BaselineFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Those of a model.
   * @throws What the file system throws, but for files that are not there, and what is no baseline.
   */
  async read(model: string): Promise<readonly Baseline[]> {
    const folder = join(this.#folder, model);
    const names = await readdir(folder).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    return Promise.all(
      names
        .filter((name) => /^[1-9]\d{0,18}\.json$/.test(name))
        .map(async (name) => v.parse(baselineSchema, JSON.parse(await readFile(join(folder, name), 'utf8')))),
    );
  }

  /** A reader sees the old file or the new one. */
  async write(baseline: Baseline): Promise<void> {
    const folder = join(this.#folder, baseline.model);
    const outputs = baseline.outputs.map(({ summary, ...output }) => ({ ...output, summary: encodeSummary(summary) }));
    const path = join(folder, `${baseline.version}.json`);
    const half = `${path}.${process.pid}.new`;
    await mkdir(folder, { recursive: true });
    try {
      await writeFile(half, JSON.stringify({ format: 1, ...baseline, outputs }));
      await rename(half, path);
    } catch (error) {
      await rm(half, { force: true });
      throw error;
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
