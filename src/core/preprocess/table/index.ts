export { type Cell, type Column, createColumn, type EncodeCell, widthOf } from './column.ts';
