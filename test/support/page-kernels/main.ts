import { openBrowserPlatform } from '../../../dist/engines/browser/index.js';
import { openEngine } from '../../../dist/engines/index.js';
import { strings, stringsOf } from '../graph-models.ts';
import { accepted } from '../kernels/accepted.ts';
import { kernelCases } from '../kernels/cases.ts';
import { findDifferences, judge } from '../kernels/compare.ts';
import { textClassifier } from '../text-classifier.ts';

/** What `judge` says of all cases on a backend, cpu being the reference. */
async function checkKernels(backend: 'tfjs-wasm' | 'tfjs-webgpu') {
  const platform = openBrowserPlatform({ allowSoftwareAdapter: true });
  const reference = await openEngine('tfjs-cpu', platform);
  const engine = await openEngine(backend, platform);
  const verdict = judge(await findDifferences(kernelCases, reference, engine), accepted[backend]);
  const memory = engine.memory();
  await engine[Symbol.asyncDispose]();
  await reference[Symbol.asyncDispose]();
  return { ...verdict, memory, backend: engine.backend };
}

/** Scores of a text model whose strings and table run on the CPU, with what it cleaned the text to. */
async function classifyText(backend: 'tfjs-cpu' | 'tfjs-wasm' | 'tfjs-webgpu') {
  const engine = await openEngine(backend, openBrowserPlatform({ allowSoftwareAdapter: true }));
  const { source, expected } = textClassifier();
  const loaded = await engine.load(source);
  const inputs = { text: strings(['The cat, the DOG!', 'unseen', '']) };
  const { scores, clean } = await loaded.run({ signature: 'serving_default', inputs });
  await loaded[Symbol.asyncDispose]();
  const memory = engine.memory();
  await engine[Symbol.asyncDispose]();
  return { scores: Array.from(scores!.data as Float32Array), clean: stringsOf(clean!), expected, memory };
}

declare global {
  interface Window {
    checkKernels: typeof checkKernels;
    classifyText: typeof classifyText;
  }
}

window.checkKernels = checkKernels;
window.classifyText = classifyText;
document.documentElement.dataset['ready'] = 'true';
