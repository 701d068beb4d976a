import type { Page } from 'playwright-core';

/** GPU objects of a page's workers that are alive: a destroyed device takes its buffers along. */
export interface GpuCounts {
  readonly devices: number;
  readonly buffers: number;
}

interface Counting {
  countGpu: () => GpuCounts;
}

/** From here on counts the devices that the page's workers get, and the buffers of those. */
export async function watchGpuObjects(page: Page): Promise<void> {
  await Promise.all(
    page.workers().map((worker) =>
      worker.evaluate(() => {
        const live = new Map<GPUDevice, Set<GPUBuffer>>();
        const { requestDevice } = GPUAdapter.prototype;
        GPUAdapter.prototype.requestDevice = async function (...args) {
          const device = await requestDevice.apply(this, args);
          const buffers = new Set<GPUBuffer>();
          live.set(device, buffers);
          void device.lost.then(() => live.delete(device));
          const createBuffer = device.createBuffer.bind(device);
          device.createBuffer = (descriptor) => {
            const buffer = createBuffer(descriptor);
            const destroy = buffer.destroy.bind(buffer);
            buffers.add(buffer);
            buffer.destroy = () => {
              buffers.delete(buffer);
              destroy();
            };
            return buffer;
          };
          return device;
        };
        const countGpu = () => ({ devices: live.size, buffers: [...live.values()].reduce((sum, { size }) => sum + size, 0) });
        Object.assign(self, { countGpu });
      }),
    ),
  );
}

/** The objects that are alive now, of those watched. */
export async function countGpuObjects(page: Page): Promise<GpuCounts> {
  const counts = await Promise.all(page.workers().map((worker) => worker.evaluate(() => (self as unknown as Counting).countGpu())));
  const sum = (key: keyof GpuCounts) => counts.reduce((total, each) => total + each[key], 0);
  return { devices: sum('devices'), buffers: sum('buffers') };
}
