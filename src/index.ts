/** What embedders import. */
export { type App, createApp, migrateDatabase, type Ports } from './app.ts'
export { type Config, loadConfig } from './config.ts'
export { AppError, type ErrorCode, SetupError, StoreError } from './errors.ts'
export { createServer, startServer } from './http/server.ts'
export { createLogger } from './log.ts'
