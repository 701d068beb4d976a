export { createReporter, type Reporter, type ReporterOptions } from './reporter.ts';
