export { type ChunkNews, openTabs, type Tabs } from './tabs.ts';
