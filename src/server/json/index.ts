export { type JsonJobKind, type JsonJobs, jsonJobs } from './json-jobs.ts';
export { JsonThread, type RunJsonJob, runJsonJobHere } from './json-thread.ts';
