/* A C program, without libstdc++, that loads a plugin for itself only, uses it in this and in another thread, and
 * unloads it, a few times. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static char *(*work)(int);
static int (*fails)(void);

static void *use(void *unused) {
    (void)unused;
    char *text = work(1000);
    printf("%s, %d\n", text, fails());
    free(text);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2 || dlsym(RTLD_DEFAULT, "__cxa_throw") != NULL) {
        printf("libstdc++ is there already\n");
        return 1;
    }
    for (int round = 0; round < 3; round++) {
        void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (plugin == NULL) {
            printf("%s\n", dlerror());
            return 1;
        }
        *(void **)&work = dlsym(plugin, "plugin_work");
        *(void **)&fails = dlsym(plugin, "plugin_fails");
        use(NULL);
        pthread_t thread;
        if (pthread_create(&thread, NULL, use, NULL) != 0)
            return 1;
        pthread_join(thread, NULL);
        dlclose(plugin);
    }
    return 0;
}
