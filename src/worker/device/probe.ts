import type { DeviceProfile } from '../../core/index.ts';
import { describeAdapter } from '../../engines/index.ts';
import { estimateStorage } from '../store/index.ts';

/** The probe answers within 150 ms; what takes longer is left out of its answer and known to the next one. */
const limitMs = 140;

export type Adapter = NonNullable<DeviceProfile['adapter']>;

/** What is known of the device, filled in as the browser answers. */
interface Facts {
  isAdapterKnown: boolean;
  adapter?: Adapter;
  kernelMs?: number;
  kernelStartedAt?: number;
  quotaBytes?: number | undefined;
  usageBytes?: number | undefined;
}

export interface DeviceProbe {
  /** The profile as far as it is known after at most 140 ms. */
  profile(): Promise<DeviceProfile>;
  /** The GPU adapter, however long the browser takes to name it; undefined when there is none. */
  adapter(): Promise<Adapter | undefined>;
}

/**
 * Looks at the GPU and the storage of this device once. An adapter is asked for, since `navigator.gpu` is there on
 * devices that have none; a short kernel tells a real GPU from one that only says it is.
 */
export function createProbe(gpu: GPU | undefined): DeviceProbe {
  let facts: Facts | undefined;
  let adapterKnown: Promise<void> = Promise.resolve();
  let allKnown: Promise<unknown> = Promise.resolve();
  const start = (): Facts => {
    const found: Facts = { isAdapterKnown: false };
    const adapter = gpu ? requestAdapter(gpu) : Promise.resolve(null);
    adapterKnown = adapter.then((got) => {
      found.isAdapterKnown = true;
      if (got) found.adapter = describe(got);
    });
    const kernel = adapter.then(async (got) => {
      if (!got) return;
      const kernelMs = await timeKernel(got, (startedAt) => {
        found.kernelStartedAt = startedAt;
      });
      if (kernelMs !== undefined) found.kernelMs = kernelMs;
    });
    allKnown = Promise.all([kernel, readStorage(found)]);
    return found;
  };
  return {
    async profile() {
      const startedAt = performance.now();
      if (facts) await withinLimit(Promise.all([allKnown, readStorage(facts)]));
      else {
        facts = start();
        await withinLimit(allKnown);
      }
      return profileOf(facts, startedAt);
    },
    async adapter() {
      facts ??= start();
      await adapterKnown;
      return facts.adapter;
    },
  };
}

async function readStorage(facts: Facts): Promise<void> {
  Object.assign(facts, await estimateStorage());
}

async function withinLimit(work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}

function profileOf(facts: Facts, startedAt: number): DeviceProfile {
  const { adapter, quotaBytes, usageBytes, kernelStartedAt } = facts;
  const now = performance.now();
  // A kernel still under way has taken at least this long.
  const kernelMs = facts.kernelMs ?? (kernelStartedAt === undefined ? undefined : now - kernelStartedAt);
  return { adapter, isAdapterPending: !facts.isAdapterKnown, quotaBytes, usageBytes, kernelMs, probeMs: now - startedAt };
}

async function requestAdapter(gpu: GPU): Promise<GPUAdapter | null> {
  try {
    return await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch {
    return null;
  }
}

function describe(adapter: GPUAdapter): Adapter {
  return { ...describeAdapter(adapter), maxBufferBytes: adapter.limits.maxBufferSize, features: [...adapter.features] };
}

const invocations = 64 * 1024;

/** Some multiplications per element: enough to be work, little enough for the weakest GPU. */
const kernel = `
@group(0) @binding(0) var<storage, read_write> data: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var value = f32(id.x % 7u) * 0.25;
  for (var i = 0u; i < 64u; i++) { value = fma(value, 0.5, 1.0); }
  data[id.x] = value;
}`;

/** Milliseconds from dispatch to readback; undefined when the adapter gives no device or a wrong result. */
async function timeKernel(adapter: GPUAdapter, onDispatch: (startedAt: number) => void): Promise<number | undefined> {
  let device: GPUDevice | undefined;
  try {
    device = await adapter.requestDevice();
    const size = invocations * 4;
    const data = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const readback = device.createBuffer({ size: 256, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const compute = { module: device.createShaderModule({ code: kernel }), entryPoint: 'main' };
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute });
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: data } }],
    });
    const startedAt = performance.now();
    onDispatch(startedAt);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(invocations / 64);
    pass.end();
    encoder.copyBufferToBuffer(data, 0, readback, 0, 256);
    device.queue.submit([encoder.finish()]);
    await readback.mapAsync(GPUMapMode.READ);
    const kernelMs = performance.now() - startedAt;
    // The fixed point of x/2 + 1.
    const [value = 0] = new Float32Array(readback.getMappedRange().slice(0));
    return Math.abs(value - 2) < 1e-3 ? kernelMs : Number.POSITIVE_INFINITY;
  } catch {
    return undefined;
  } finally {
    device?.destroy();
  }
}
