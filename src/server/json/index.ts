export { type JsonJobKind, type JsonJobs, jsonJobs } from './json-jobs.ts';
export { JsonThread, type RunJsonJob, runJsonJobHere } from './json-thread.ts';
export { type JsonTask, parseJsonBody, parseTaskInput } from './task-inputs.ts';
