import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from '../../scripts/build.mjs';

/** Pages and processes under test come from dist/, so it must be what the sources say. */
export async function setup(): Promise<() => Promise<void>> {
  if (!(await build())) console.warn('the build has errors: tests run against what it could emit');
  // Where `nearfar serve` keeps its history: not among the user's own files.
  const state = await mkdtemp(join(tmpdir(), 'nearfar-test-state-'));
  process.env['XDG_STATE_HOME'] = state;
  return () => rm(state, { recursive: true, force: true });
}
