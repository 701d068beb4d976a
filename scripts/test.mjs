// The whole proof: a browser is found or installed, the code checked, the tests run. `--full` adds what is long.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureBrowser, ensureVulkanLoader, findSoftwareVulkan } from './find-browser.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const projects = ['node', 'browser', ...(process.argv.includes('--full') ? ['full'] : [])];
const totals = { passed: 0, failed: 0, skipped: 0 };

prepareMachine();
count(run('scripts/check.mjs') ? 'passed' : 'failed');
runVitest();
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed === 0 ? 0 : 1;

function prepareMachine() {
  try {
    console.log(`Browser: ${ensureBrowser()}`);
  } catch (error) {
    // The tests of the browser will fail one by one and say so; the rest can still be seen to work.
    console.error(error instanceof Error ? error.message : error);
  }
  ensureVulkanLoader();
  const vulkan = findSoftwareVulkan();
  console.log(vulkan.env ? 'WebGPU in Node: SwiftShader' : `WebGPU in Node: skipped, ${vulkan.reason}`);
}

/** @param {string[]} files the test files to run; all of the chosen projects where there are none. */
function runVitest(files = []) {
  const folder = mkdtempSync(join(tmpdir(), 'nearfar-results-'));
  const file = join(folder, 'results.json');
  const chosen = projects.flatMap((name) => ['--project', name]);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const succeeded = run('node_modules/vitest/vitest.mjs', 'run', ...chosen, ...reporters, ...files);
  const failedBefore = totals.failed;
  /** @type {string[]} */
  let unfinished = [];
  try {
    unfinished = countResults(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    console.error('vitest left no results:', error);
  }
  rmSync(folder, { recursive: true });
  const mayRunAgain = unfinished.length > 0 && files.length === 0;
  if (mayRunAgain) {
    // Native code in a test's process (ONNX Runtime, Dawn, V8 itself) can end it, seldom enough to be no file's own fault.
    console.error(`Run again, alone, as the process died in which they ran: ${unfinished.join(', ')}`);
    runVitest(unfinished);
  }
  // An error outside of any test (an unhandled rejection, a crashed process) fails the run without failing a test.
  if (!succeeded && !mayRunAgain && totals.failed === failedBefore) count('failed');
}

/**
 * @typedef {{ title: string, status: string }} Assertion
 * @typedef {{ name: string, status: string, assertionResults: Assertion[] }} TestFile
 * @param {{ testResults: TestFile[] }} results as vitest's JSON reporter writes them.
 * @returns {string[]} the files that did not finish, of which nothing is counted.
 */
function countResults({ testResults }) {
  const unfinished = [];
  for (const { name, status, assertionResults } of testResults) {
    if (assertionResults.some((assertion) => assertion.status === 'pending')) {
      unfinished.push(name);
      continue;
    }
    for (const assertion of assertionResults) {
      if (assertion.status === 'passed' || assertion.status === 'failed') count(assertion.status);
      else count('skipped');
    }
    // A file that could not even be imported holds no tests to fail.
    if (status === 'failed' && !assertionResults.some((assertion) => assertion.status === 'failed')) count('failed');
  }
  return unfinished;
}

/** @param {keyof typeof totals} outcome */
function count(outcome) {
  totals[outcome] += 1;
}

/** @param {string} script @param {string[]} args */
function run(script, ...args) {
  return spawnSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}
