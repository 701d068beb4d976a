// Makes a Python environment with the servers that the bench can hold nearfar against: node bench/peers/install.mjs FOLDER [PYTHON]
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Worker pools of MLServer do not start with uvloop from 0.22 on. */
const packages = ['mlserver==1.7.1', 'uvloop==0.21.0', 'litserve==0.2.19', 'nvidia-pytriton==0.7.0', 'onnxruntime'];

const [folder, python = '/usr/bin/python3'] = process.argv.slice(2);
if (folder === undefined) {
  console.error('node bench/peers/install.mjs FOLDER [PYTHON]\n\nThen: NEARFAR_BENCH_PEERS=FOLDER npm run bench -- --only server');
  process.exit(2);
}
run(python, ['-m', 'venv', folder]);
run(join(folder, 'bin/pip'), ['install', '--quiet', ...packages]);
console.log(`NEARFAR_BENCH_PEERS=${folder} npm run bench -- --only server`);

/** @param {string} command @param {readonly string[]} words */
function run(command, words) {
  const { status } = spawnSync(command, words, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
