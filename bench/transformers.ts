import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emitPieces, replaceFields, withPrefix } from '../src/core/formats/onnx/rewrite.ts';
import { launchBrowser } from '../test/support/browser.ts';
import { publishMobileNetV2 } from '../test/support/parity-models.ts';
import { sharedData } from '../test/support/shared-data.ts';
import { atMost, type Bench, compare, measurePairs } from './measure.ts';
import { locked } from './models.ts';
import type { FirstAnswer, NearfarTask } from './pages/nearfar.ts';
import type { TransformersAnswer, TransformersTask } from './pages/transformers.ts';
import { openSite, runPage } from './site.ts';
import { showsDetails } from './table.ts';

const version = '4.3.2';
const packageName = '@huggingface/transformers';

/**
 * A page opened again, everything in its cache: nearfar against transformers.js with the same weights, photo and kind of engine (ONNX
 * Runtime on wasm, one thread), and against transformers.js where nearfar chooses the backend itself. transformers.js runs on the
 * main thread, verifies nothing, and loads its own build of the runtime.
 */
export const benchTransformers: Bench = async ({ pairs = 5, report }) => {
  const model = await publishMobileNetV2();
  const weights = sharedData('onnx/mobilenetv2-dq-fp32/model.onnx');
  const library = installLibrary();
  if (!model || weights === undefined || library === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-bench-transformers-'));
  try {
    await arrangeModel(folder, new Uint8Array(await readFile(weights)));
    const runtime = join(library, 'onnxruntime-web/dist');
    await using nearfarSite = await openSite('nearfar.ts', model);
    await using otherSite = await openSite('transformers.ts', model, {
      mounts: { '/hf/': folder, '/library/': join(library, packageName, 'dist'), '/runtime/': runtime },
    });
    const other: TransformersTask = {
      library: '/library/transformers.min.js',
      wasmPaths: {
        mjs: `${otherSite.origin}/runtime/ort-wasm-simd-threaded.asyncify.mjs`,
        wasm: `${otherSite.origin}/runtime/ort-wasm-simd-threaded.asyncify.wasm`,
      },
      models: '/hf/',
      name: 'mobilenetv2',
    };
    for (const backends of [['onnx-wasm'], undefined] as const) {
      await using browser = await launchBrowser();
      const { lock } = locked(model);
      const task: NearfarTask = { name: model.manifest.name, lock, ...(backends && { backends }) };
      const openOurs = async () => {
        const { ms, run, top } = await runPage<FirstAnswer>(browser, nearfarSite.origin, task);
        if (run.leg !== 'on-device') throw new Error(`the ${run.leg} answered`);
        return { ms, run, top };
      };
      const openOther = () => runPage<TransformersAnswer>(browser, otherSite.origin, other);
      const [ours, theirs] = [await openOurs(), await openOther()];
      if (showsDetails)
        console.log(`    first: ${ours.ms.toFixed(0)} ms, ${theirs.ms.toFixed(0)} ms; best class ${ours.top}, ${theirs.top}`);
      const measured = await measurePairs(
        pairs,
        async () => {
          const { ms, run } = await openOurs();
          if (run.cache !== 'hit') throw new Error(`a warm open was a ${run.cache}`);
          return ms;
        },
        async () => (await openOther()).ms,
      );
      const about = { bench: 'transformers', case: `warm open, mobilenetv2 ${ours.run.engine}-${ours.run.backend}`, unit: 'ms' } as const;
      report(compare({ ...about, subject: 'nearfar', reference: `transformers.js ${version}` }, measured, atMost(0.25)));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** Installs transformers.js into the temporary folder, once. @returns its node_modules; undefined, with the reason, where that fails. */
function installLibrary(): string | undefined {
  const folder = join(tmpdir(), `nearfar-bench-transformers-${version}`);
  const modules = join(folder, 'node_modules');
  if (existsSync(join(modules, packageName, 'dist'))) return modules;
  const args = [
    'install',
    `${packageName}@${version}`,
    '--prefix',
    folder,
    '--omit=optional',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ];
  const { status, stderr } = spawnSync('npm', args, { encoding: 'utf8', shell: process.platform === 'win32' });
  if (status === 0) return modules;
  console.log(`  skipped: ${packageName} could not be installed\n${stderr}`);
  return undefined;
}

/** The files that transformers.js expects, around the same weights. */
async function arrangeModel(folder: string, weights: Uint8Array): Promise<void> {
  const to = join(folder, 'mobilenetv2');
  await mkdir(join(to, 'onnx'), { recursive: true });
  const id2label = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [index, String(index)]));
  const config = { model_type: 'mobilenet_v2', architectures: ['MobileNetV2ForImageClassification'], id2label };
  const preprocessor = {
    image_processor_type: 'MobileNetV2ImageProcessor',
    do_resize: true,
    size: { shortest_edge: 256 },
    do_center_crop: true,
    crop_size: { height: 224, width: 224 },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.485, 0.456, 0.406],
    image_std: [0.229, 0.224, 0.225],
    resample: 2,
  };
  await writeFile(join(to, 'config.json'), JSON.stringify(config));
  await writeFile(join(to, 'preprocessor_config.json'), JSON.stringify(preprocessor));
  await writeFile(join(to, 'onnx/model.onnx'), renameEnds(weights));
}

/** It knows its inputs and outputs by name. */
const names: Readonly<Record<string, string>> = { input: 'pixel_values', output: 'logits' };

/** Fields of onnx.proto that hold the names of tensors. */
const graph = { 1: [1, 2], 11: [1], 12: [1] } as const;

function renameEnds(model: Uint8Array): AsyncIterable<Uint8Array> {
  const rename = (bytes: Uint8Array, fields: readonly number[]) =>
    replaceFields(bytes, (field, content) => {
      const renamed = content && fields.includes(field) ? names[new TextDecoder().decode(content)] : undefined;
      return renamed === undefined ? undefined : withPrefix(field, [new TextEncoder().encode(renamed)]);
    });
  const inGraph = (bytes: Uint8Array) =>
    replaceFields(bytes, (field, content) =>
      content && field in graph ? withPrefix(field, rename(content, graph[field as keyof typeof graph])) : undefined,
    );
  const renamed = replaceFields(model, (field, content) => (content && field === 7 ? withPrefix(7, inGraph(content)) : undefined));
  return emitPieces(renamed, () => false).read();
}
