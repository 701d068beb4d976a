export { Chart } from './chart.tsx';
export { ActionDialog } from './dialog.tsx';
export { Empty, Waiting } from './empty.tsx';
export { Failure } from './failure.tsx';
export {
  formatAgo,
  formatBytes,
  formatClock,
  formatCount,
  formatMoment,
  formatMs,
  formatNumber,
  formatShare,
  shortDigest,
} from './format.ts';
export { Icon, type IconName } from './icon.tsx';
export { Shares } from './shares.tsx';
export { State } from './state.tsx';
