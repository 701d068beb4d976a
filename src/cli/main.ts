#!/usr/bin/env node
import { Command } from 'commander';
import { runProgram } from './command.ts';
import { addConfig } from './config.ts';
import { addConvert } from './convert.ts';
import { addDemo } from './demo.ts';
import { addDiff } from './diff.ts';
import { addDrift } from './drift.ts';
import { addFeedback } from './feedback.ts';
import { addHistory } from './history.ts';
import { addInspect } from './inspect.ts';
import { addKeys } from './keys.ts';
import { addLock } from './lock.ts';
import { addLogs } from './logs.ts';
import { addModelCommands } from './models.ts';
import { addPlan } from './plan/index.ts';
import { addPredict } from './predict.ts';
import { addPublish } from './publish.ts';
import { addRollout } from './rollout.ts';
import { addServe } from './serve.ts';
import { addStatus } from './status.ts';
import { addTune } from './tune/index.ts';
import { addUpload } from './upload.ts';
import { addVerify } from './verify.ts';
import { packageVersion } from './version.ts';

/** Every sub-command, in the order of the help; each file adds its own. */
const commands: readonly ((program: Command) => void)[] = [
  addServe,
  addPublish,
  addConvert,
  addInspect,
  addVerify,
  addDiff,
  addLock,
  addConfig,
  addStatus,
  addModelCommands,
  addHistory,
  addLogs,
  addUpload,
  addDrift,
  addFeedback,
  addRollout,
  addKeys,
  addPredict,
  addTune,
  addPlan,
  addDemo,
];

const program = new Command('nearfar')
  .description('Runs a pinned model version near (in the browser) or far (on a server) with the same answer.')
  .version(packageVersion())
  // So that sub-commands may have a --version of their own.
  .enablePositionalOptions();
for (const add of commands) add(program);

await runProgram(program, process.argv);
