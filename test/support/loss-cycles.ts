import type { BackendId, Client, Model, RunReport, TensorInput } from 'nearfar';
import type { TestPage } from './browser.ts';
import { countGpuObjects, type GpuCounts, watchGpuObjects } from './gpu-counters.ts';

/** What a page looks like once a lost GPU is back. */
export interface LossCycle extends GpuCounts {
  readonly workers: number;
  /** Of the call that was under way when the GPU was lost, and of the one after it. */
  readonly runs: readonly RunReport[];
  readonly values: readonly (readonly number[])[];
}

export interface LossTask {
  readonly name: string;
  readonly backend: BackendId;
  readonly times: number;
  readonly inputs: Readonly<Record<string, { readonly shape: readonly number[]; readonly values: readonly number[] }>>;
}

interface Opened {
  client: Client;
  model: Model;
  inputs: Record<string, TensorInput>;
}

/**
 * Loses the GPU under a call again and again; every call is answered by the device. The first loss is not counted: devices are
 * watched from it on.
 */
export async function loseAgainAndAgain({ page }: TestPage, task: LossTask): Promise<LossCycle[]> {
  await page.evaluate(async ({ name, backend, inputs }) => {
    const client = window.nearfar.createClient({ models: '/models', backends: [backend], allowSoftwareAdapter: true });
    const tensors = Object.entries(inputs).map(([key, { shape, values }]) => {
      return [key, { dtype: 'float32', shape, data: Float32Array.from(values) }];
    });
    const model = await client.open(name, { mode: 'only-on-device' });
    Object.assign(window, { client, model, inputs: Object.fromEntries(tensors) });
  }, task);
  await watchGpuObjects(page);
  const cycles: LossCycle[] = [];
  for (let cycle = 0; cycle <= task.times; cycle += 1) {
    const seen = await page.evaluate(async () => {
      const { model, inputs } = window as unknown as Opened;
      const under = model.predict(inputs);
      await model.faults.loseDevice();
      const answers = [await under, await model.predict(inputs)];
      const values = answers.map(({ outputs }) => Object.values(outputs).flatMap(({ data }) => Array.from(data as Float32Array)));
      return { runs: answers.map(({ run }) => run), values };
    });
    if (cycle > 0) cycles.push({ ...seen, ...(await countGpuObjects(page)), workers: page.workers().length });
  }
  await page.evaluate(() => (window as unknown as Opened).client.close());
  return cycles;
}
