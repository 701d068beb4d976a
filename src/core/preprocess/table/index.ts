export { type Cell, type Column, type ColumnTransform, createColumn, type EncodeCell, widthOf } from './column.ts';
