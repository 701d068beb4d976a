import { build } from '../../scripts/build.mjs';

/** Pages and processes under test come from dist/, so it must be what the sources say. */
export async function setup(): Promise<void> {
  if (!(await build())) console.warn('the build has errors: tests run against what it could emit');
}
