q8_0 on [64, 256]: LAPACK and BLAS are called for whole matrices, from the kernel itself, never from inside rows.

CHECK-LABEL: define void @kernel_3(
CHECK:       call void @cmprt_syrk_f32({{.*}}, i64 256, i64 256, i64 16)
CHECK:       fdiv <32 x float> %{{.*}}, <float 1.600000e+01, float 1.600000e+01,{{.*}}>
CHECK-NEXT:  fmul <32 x float> <float 2.000000e+00, float 2.000000e+00,{{.*}}>,
CHECK:       [[DEAD:%.*]] = fcmp oeq <32 x float> %{{.*}}, zeroinitializer
CHECK-NEXT:  zext <32 x i1> [[DEAD]] to <32 x i8>
CHECK:       call void @cmprt_inverse_factor(ptr %frame, ptr %factor, ptr %factor, i64 256, i64 1, i64 0)
CHECK:       call void @cmprt_parallel(ptr %{{.*}}, ptr @kernel_3.rows0, i64 0, i64 64, i64 0)

1% of the mean of the diagonal, where i == j

CHECK:       [[DIAGONAL:%.*]] = icmp eq <32 x i32>
CHECK:       fmul float 0x3F847AE140000000,
CHECK:       select <32 x i1> [[DIAGONAL]], <32 x float> %{{.*}}, <32 x float> zeroinitializer

two turns of 128 columns: 16 rows at a time, then one product for the columns beyond, as many as are left

CHECK:       icmp slt i64 %{{loop.*}}, 2
CHECK:       call void @cmprt_parallel(ptr %{{.*}}, ptr @kernel_3.rows1, i64 0, i64 4, i64 0)
CHECK:       call void @cmprt_gemm_f32({{.*}}, i64 64, i64 %trips, i64 %trips{{[0-9]+}}, i64 1)
CHECK:       call void @cmprt_parallel(ptr %{{.*}}, ptr @kernel_3.rows2, i64 0, i64 64, i64 0)
CHECK-NEXT:  ret void

w := if dead then 0 else w, and the first grids

CHECK-LABEL: define internal void @kernel_3.rows0(
CHECK:       icmp ne <32 x i8> %{{.*}}, zeroinitializer
CHECK:       fdiv float %{{.*}}, 1.270000e+02
CHECK:       store float %{{.*}}, ptr %{{.*}}, align 4, !alias.scope

a column of 16 rows, whose part of these columns lies beside one another: the codes, their errors over the diagonal,
the columns right of it

CHECK-LABEL: define internal void @kernel_3.rows1(
CHECK:       %w = alloca [10176 x i8], align 64
CHECK:       srem i32 %{{.*}}, 32
CHECK:       [[COLUMN:%.*]] = load <16 x float>, ptr %{{.*}}, align 64
CHECK:       fmul <16 x float> [[COLUMN]],
CHECK:       [[ERROR:%.*]] = fsub <16 x float>
CHECK:       fdiv <16 x float> [[ERROR]], %splat
CHECK:       {{^}}k
CHECK:       [[MOVE:%.*]] = fmul <16 x float> %{{.*}}, %splat
CHECK-NEXT:  fsub <16 x float> %{{.*}}, [[MOVE]]

34 bytes a block: the scale, the codes

CHECK-LABEL: define internal void @kernel_3.rows2(
CHECK:       fptrunc
