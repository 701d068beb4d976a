import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test('the built package imports in Chromium, by its own name', async () => {
  await using opened = await openTestPage(browser);

  const names = await opened.page.evaluate(() => Object.keys(window.nearfar));

  expect(names).toEqual(expect.arrayContaining(['createClient', 'NearfarError']));
  expect(opened.logs).toEqual([]);
});

test('WebGPU has a software adapter that computes', async () => {
  await using opened = await openTestPage(browser);

  const seen = await opened.page.evaluate(async () => {
    const adapter = await navigator.gpu.requestAdapter();
    if (adapter === null) return { isFallbackAdapter: undefined, doubled: [] };
    const device = await adapter.requestDevice();
    const data = device.createBuffer({
      size: 16,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    const read = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(data, 0, new Float32Array([1, 2, 3, 4]));
    const code =
      '@group(0) @binding(0) var<storage, read_write> v: array<f32>; @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) i: vec3u) { v[i.x] *= 2; }';
    const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module: device.createShaderModule({ code }) } });
    const commands = device.createCommandEncoder();
    const pass = commands.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: data } }] }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    commands.copyBufferToBuffer(data, 0, read, 0, 16);
    device.queue.submit([commands.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    const doubled = [...new Float32Array(read.getMappedRange())];
    device.destroy();
    return { isFallbackAdapter: adapter.info.isFallbackAdapter, doubled };
  });

  expect(seen).toEqual({ isFallbackAdapter: true, doubled: [2, 4, 6, 8] });
});

test('a browser without WebGPU can be had', async () => {
  await using plain = await launchBrowser({ gpu: false });
  await using opened = await openTestPage(plain);

  const hasAdapter = await opened.page.evaluate(async () => 'gpu' in navigator && (await navigator.gpu.requestAdapter()) !== null);

  expect(hasAdapter).toBe(false);
});

test('storage survives a restart of the browser, and cross-origin isolation can be asked for', async () => {
  await using own = await launchBrowser();
  await using opened = await openTestPage(own, { isolated: true });
  const isIsolated = await opened.page.evaluate(() => {
    localStorage.setItem('kept', 'yes');
    return crossOriginIsolated;
  });

  await own.restart();
  const page = await own.newPage();
  await page.goto(opened.url);

  expect(isIsolated).toBe(true);
  expect(await page.evaluate(() => localStorage.getItem('kept'))).toBe('yes');
});
