// Its only mention of exceptions is that it catches one, from new where memory is short.
#include "proof.h"

#include <new>

static volatile size_t huge = SIZE_MAX / 4;

int main() {
    char *one = new char[10];
    bool caught = false;
    try {
        volatile char *p = new char[huge];
        p[0] = 0;
    } catch (...) {
        caught = true;
    }
    expect(caught, "new of too much threw nothing");
    int result = verdict(one);
    delete[] one;
    return result;
}
