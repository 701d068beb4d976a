export { type CacheMetrics, openResults } from './results.ts';
export { withImageCache } from './with-image-cache.ts';
export { withResultCache } from './with-result-cache.ts';
