package wiw

// Translation is open to tests, which hold that it is part of a shift's hash.
const Translation = translation
