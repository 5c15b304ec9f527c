/** Milliseconds since 1970-01-01 UTC. Everything that decides by time takes one of these, so that a test can move it. */
export type Clock = () => number

export const systemClock: Clock = Date.now
