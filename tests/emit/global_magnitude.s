CHECK-LABEL: kernel_0:
CHECK:       vpmovzxwd {{.*}}%ymm
CHECK:       vpcmpgtd {{.*}}%ymm
CHECK:       vpandn {{.*}}%ymm
CHECK:       vpackusdw {{.*}}%ymm
CHECK:       vmovdqu %ymm{{.*}}, (%rdi
CHECK:       retq
